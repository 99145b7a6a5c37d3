/** Metrics of classifiers, against numbers that were computed by hand. */
import { expect } from 'chai'
import {
  classificationMetrics,
  classScores,
  confusionMatrix,
  dataset,
  mlp,
  Trainer,
  topKAccuracy,
} from '../lib/index.js'
import { plane } from './synthetic.js'
import { error, optimizer, test, train, widths } from './training.js'

// Four samples of three classes; predictions 0, 2, 2, 0, and in the second the label comes second.
const logits = Float32Array.of(3, 1, 2, 0, 1, 2, -1, 0, 5, 4, 3, 1)
const labels = [0, 1, 2, 1]

describe('metrics', () => {
  it('top-k accuracy: the label is among the k largest, of equal ones the lower class first', () => {
    expect([1, 2, 3].map((k) => topKAccuracy(logits, labels, k))).to.deep.equal([0.5, 1, 1])
    const equal = new Float32Array(6)
    expect([1, 2, 3].map((k) => topKAccuracy(equal, [0, 2], k))).to.deep.equal([0.5, 0.5, 1])
    expect(topKAccuracy(Float32Array.of(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY), [1], 1)).to.equal(1)
  })

  it('the confusion matrix has labels by row and predictions by column', () => {
    expect(confusionMatrix(logits, labels)).to.deep.equal([
      [1, 0, 0],
      [1, 0, 1],
      [0, 0, 1],
    ])
    expect(confusionMatrix(new Float32Array(6), Uint8Array.of(2, 0))).to.deep.equal([
      [1, 0, 0],
      [0, 0, 0],
      [1, 0, 0],
    ])
  })

  it('precision, recall and F1, of each class and in the mean', () => {
    // Class 0: 8 of 10 predictions, 8 of 8 samples; class 1: 5 of 5, of 9; class 2: 6 of 8, of 6.
    const { classes, macro } = classScores([
      [8, 0, 0],
      [2, 5, 2],
      [0, 0, 6],
    ])
    const f1 = [16 / 18, 10 / 14, 12 / 14]
    expect(classes).to.deep.equal([
      { precision: 0.8, recall: 1, f1: f1[0], samples: 8 },
      { precision: 1, recall: 5 / 9, f1: f1[1], samples: 9 },
      { precision: 0.75, recall: 1, f1: f1[2], samples: 6 },
    ])
    expect(macro.precision).to.be.closeTo((0.8 + 1 + 0.75) / 3, 1e-15)
    expect(macro.recall).to.be.closeTo((1 + 5 / 9 + 1) / 3, 1e-15)
    expect(macro.f1).to.be.closeTo((f1[0] + f1[1] + f1[2]) / 3, 1e-15)
  })

  it('a class that is never predicted, has no samples, or neither', () => {
    const { classes, macro } = classScores([
      [2, 0, 1, 0],
      [1, 0, 0, 0],
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ])
    const none = { precision: 0, recall: 0, f1: 0 }
    expect(classes[1]).to.deep.equal({ ...none, samples: 1 })
    expect(classes[2]).to.deep.equal({ ...none, samples: 0 })
    expect(classes[3]).to.deep.equal({ precision: Number.NaN, recall: Number.NaN, f1: Number.NaN, samples: 0 })
    expect(macro.recall).to.be.closeTo(2 / 9, 1e-15) // of three classes
  })

  it('leave samples out whose label is ignored; of none that counts there is no share', () => {
    const { accuracy, confusion } = classificationMetrics(logits, [0, -1, -1, 1], { ignore: -1 })
    expect(accuracy).to.equal(0.5)
    expect(confusion.flat().reduce((sum, count) => sum + count)).to.equal(2)
    const { accuracy: empty, macro } = classificationMetrics(logits, [7, 7, 7, 7], { ignore: 7 })
    expect([empty, macro.f1]).to.deep.equal([Number.NaN, Number.NaN])
  })

  it('refuse NaN, labels that are none, and shapes that do not fit', async () => {
    const bad = logits.slice()
    bad[7] = Number.NaN
    const refusals: [() => unknown, RegExp][] = [
      [() => topKAccuracy(bad, labels, 1), /logits without NaN, got one for sample 2/],
      [() => confusionMatrix(logits, [0, 1, 3, 0]), /the label of sample 2 to be an integer between 0 and 2, got 3/],
      [() => confusionMatrix(logits, [0, 1, 2, 0, 1]), /logits of \[samples\]\[classes\] for 5 labels, got 12 numbers/],
      [() => confusionMatrix(logits, []), /for 0 labels/],
      [() => confusionMatrix([1, 2] as never, [0]), /logits to be a Float32Array/],
      [() => topKAccuracy(logits, labels, 4), /k to be an integer between 1 and 3, got 4/],
      [() => topKAccuracy(logits, labels, 1, { ignored: 1 } as never), /ignore/],
      [() => classScores([[1, 2]]), /1 numbers in row 0, got 2/],
    ]
    for (const [refused, message] of refusals) expect((await error(refused)).message).to.match(message)
  })

  it('of evaluate() agree with its accuracy, and are those of the predictions', async () => {
    using trainer = new Trainer(mlp({ widths, density: 0.2 }), { optimizer: optimizer(), device: 'cpu' })
    await trainer.fit(train, { epochs: 1 })
    const { accuracy, metrics } = await trainer.evaluate(test, { metrics: true })
    expect(metrics?.accuracy).to.equal(accuracy)
    expect(metrics).to.deep.equal(classificationMetrics(await trainer.predict(test), test.labels as Int32Array))
    expect(metrics?.top5).to.equal(1) // of four classes
    expect((await trainer.evaluate(test)).metrics).to.equal(undefined)
    const { x, labels: own, shape, classes } = test
    const y = (own as Int32Array).map((label, i) => (i < 100 ? -1 : label))
    const part = await trainer.evaluate(dataset({ x, y, shape: [...shape], classes, ignore: -1 }), { metrics: true })
    expect(part.metrics?.accuracy).to.be.closeTo(part.accuracy, 1e-7)
    expect(part.metrics?.classes.reduce((sum, { samples }) => sum + samples, 0)).to.equal(103)
    const values = plane({ samples: 8, features: 48, outputs: 4 })
    using regression = new Trainer(mlp({ widths, density: 0.2 }), { optimizer: optimizer(), device: 'cpu' })
    const { message } = await error(() => regression.evaluate(values, { metrics: true }))
    expect(message).to.match(/a data set with labels/)
  })
})
