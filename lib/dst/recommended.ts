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

  /** For `chtss()`: it begins with 10% of all possible links. From 50% it knows its training set by heart before the links are few. */
  chtss(): Pick<Method, 'density'> {
    return { density: sigmoidDensity({ initialDensity: 0.1 }) }
  },
}
