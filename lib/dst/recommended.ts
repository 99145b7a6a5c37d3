/** Presets that did better than a method's own settings on samples held out of the training set: bench/results/ablation. */
import type { Dataset } from '../data/dataset.js'
import { csti } from '../topology/csti.js'
import { sigmoidDensity } from './density.js'
import type { Method } from './method.js'
import { softRelativeImportance } from './remove.js'

export const recommended = {
  /**
   * For `chts()` of MLPs on data whose features correlate, as pixels do: links begin between correlated features (CSTI), and those that stay are sampled
   * by relative importance, as in the paper's table of MLPs. Layers must be as wide as csti() asks for.
   */
  chts({ data }: { data: Dataset }): Pick<Method, 'topology' | 'remove'> {
    return { topology: csti({ data }), remove: softRelativeImportance() }
  },

  /**
   * For `chtss()`: the same, beginning with 10% of all possible links, as it did better than from 50%, and in a third of the time. A density of more than
   * 10% stays what it is.
   */
  chtss({ data }: { data: Dataset }): Pick<Method, 'topology' | 'remove' | 'density'> {
    return { ...recommended.chts({ data }), density: sigmoidDensity({ initialDensity: 0.1 }) }
  },
}
