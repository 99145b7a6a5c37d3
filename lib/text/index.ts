/** hebb/text: the package's entry point for texts. */
export { type DecodeOptions, DecodeStream, type EncodeOptions, Tokenizer, type TokenizerJson } from './tokenizer.js'
