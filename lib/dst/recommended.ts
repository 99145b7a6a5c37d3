/**
 * A preset that did better than a method's own settings on samples held out of the training set:
 * bench/results/ablation.
 */
import type { Dataset } from '../data/dataset.js'
import { csti } from '../topology/csti.js'
import type { Method } from './method.js'
import { softRelativeImportance } from './remove.js'

/**
 * For `chts()` of MLPs on data whose features correlate, as pixels do: links begin between correlated features (CSTI),
 * and those that stay are sampled by relative importance, as in the paper's table of MLPs. Layers must be as wide as
 * csti() asks for.
 */
export function recommended({ data }: { data: Dataset }): Pick<Method, 'topology' | 'remove'> {
  return { topology: csti({ data }), remove: softRelativeImportance() }
}
