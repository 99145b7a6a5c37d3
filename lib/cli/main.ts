#!/usr/bin/env node
/**
 * The executable `hebb`. A HebbError is one line on stderr and exit code 1; any other error is a fault of hebb's own
 * and keeps its stack trace. Exit codes of what is told to end: ending.ts.
 */
import { Command } from 'commander'
import { HebbError } from '../error.js'
import { version } from '../package.js'
import { hasColors, styled } from './color.js'
import { watchOutput } from './ending.js'

watchOutput()

try {
  const [
    { defineTrain },
    { defineCompare },
    { defineEvaluate },
    { definePredict },
    { defineTranslate },
    { defineGenerate },
    { defineDescribe },
    { defineCompact },
    { defineAverage },
    { defineImport, defineExport },
    { defineDoctor },
    { defineBuild },
  ] = await Promise.all([
    import('./train.js'),
    import('./compare.js'),
    import('./evaluate.js'),
    import('./predict.js'),
    import('./translate.js'),
    import('./generate.js'),
    import('./describe.js'),
    import('./compact.js'),
    import('./average.js'),
    import('./hugging_face.js'),
    import('./doctor.js'),
    import('./build.js'),
    import('../index.js'), // every part that a checkpoint may name
  ])
  const program = new Command('hebb')
    .description('Neural networks that are sparse from the first step to the last')
    .version(version)
    .configureOutput({
      getOutHasColors: () => hasColors(process.stdout),
      getErrHasColors: () => hasColors(process.stderr),
    })
    .configureHelp({ styleTitle: (title) => styled(title, 'bold', process.stdout) })
  defineTrain(program)
  defineCompare(program)
  defineEvaluate(program)
  definePredict(program)
  defineTranslate(program)
  defineGenerate(program)
  defineDescribe(program)
  defineCompact(program)
  defineAverage(program)
  defineImport(program)
  defineExport(program)
  defineDoctor(program)
  defineBuild(program)
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof HebbError)) throw error
  console.error(`${styled('hebb:', 'red', process.stderr)} ${error.message}`)
  process.exitCode = 1
}
