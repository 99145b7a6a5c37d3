/** Which route of link prediction a device takes for 'auto', and where that is told. */
import { expect } from 'chai'
import { Device } from '../../lib/device.js'
import { chts, mlp, set, sgd, soft, Trainer } from '../../lib/index.js'
import { linkPredictors, type PredictionRoute, predictLinks } from '../../lib/tensor.js'
import { cpu, expectRefusal, expectSameBits, gpu, on, places, randomCsr } from '../support.js'

const byNodes = ['CH2-L3n', 'CH3-L3n'] as const

// 'auto' was the sparse route on every GPU: 55 s for an update that the dense route does in milliseconds.
describe("F7: the route of link prediction that a GPU takes for 'auto'", () => {
  let fastest: Device
  before(function () {
    if (!places.includes('cuda')) this.skip()
    fastest = new Device({ kind: 'cuda' })
  })
  after(() => fastest?.dispose())

  // 1568 and 4096 a side were measured at 1%, 2% and 5% (cuda/prediction_figures.h), the rest is computed from these.
  const layers = [
    { rows: 1568, cols: 1568, density: 0.01, faster: 'sparse' },
    { rows: 1568, cols: 1568, density: 0.02, faster: 'dense' },
    { rows: 1568, cols: 1568, density: 0.05, faster: 'dense' },
    { rows: 1568, cols: 1568, density: 0.5, faster: 'dense' },
    { rows: 4096, cols: 4096, density: 0.01, faster: 'dense' },
    { rows: 4096, cols: 4096, density: 0.02, faster: 'dense' },
    { rows: 4096, cols: 4096, density: 0.05, faster: 'dense' },
    { rows: 4096, cols: 4096, density: 0.001, faster: 'sparse' },
    { rows: 1568, cols: 784, density: 0.01, faster: 'sparse' },
    { rows: 1568, cols: 784, density: 0.5, faster: 'dense' },
    { rows: 64, cols: 48, density: 0.01, faster: 'sparse' },
    { rows: 1, cols: 1, density: 1, faster: 'sparse' },
    // There is no other: the pairs of neurons do not fit.
    { rows: 16_384, cols: 16_384, density: 0.5, faster: 'sparse' },
    { rows: 2, cols: 70_000, density: 0.5, faster: 'sparse' },
    { rows: 2 ** 20, cols: 2 ** 20, density: 10 / 2 ** 20, faster: 'sparse' },
  ] as const

  for (const { rows, cols, density, faster } of layers) {
    it(`is the ${faster} one by nodes for ${rows} x ${cols} at ${+(100 * density).toPrecision(1)}%`, () => {
      const links = Math.round(density * rows * cols)
      for (const predictor of linkPredictors) {
        const expected = predictor.endsWith('n') ? faster : 'sparse'
        expect(fastest.predictionRoute(rows, cols, links, predictor), predictor).to.equal(expected)
        expect(gpu().predictionRoute(rows, cols, links, predictor), `${predictor}, everywhere`).to.equal('sparse')
      }
    })
  }

  it('gives the scores of the route that it says, the dense one to 1e-6', async () => {
    for (const [rows, cols, links] of [
      [96, 80, 4000],
      [64, 48, 200],
    ] as const) {
      const csr = randomCsr(rows, cols, links, 3)
      for (const predictor of byNodes) {
        const route = fastest.predictionRoute(rows, cols, links, predictor)
        expect(route).to.equal(links === 4000 ? 'dense' : 'sparse')
        const expected = predictLinks(csr, predictor, { route: 'sparse' })
        const scores = (place: Device, options = {}) => on(place, (w) => w.matrix(csr).predictLinks(predictor, options))
        const got = await scores(fastest)
        expectSameBits(got, await scores(fastest, { route }), `${predictor}, ${route}`)
        expectSameBits([got.row, got.col], [expected.row, expected.col], predictor)
        const off = got.score.findIndex((score, n) => !(Math.abs(score - expected.score[n]) <= 1e-6 * score))
        expect(off, `${predictor}: a score that differs`).to.equal(-1)
        const differing = got.score.filter((score, n) => score !== expected.score[n]).length
        expect(differing > 0, `${predictor}, ${route}: ${differing} scores differ`).to.equal(route === 'dense')
        expectSameBits(await scores(gpu()), expected, `${predictor}, deterministic everywhere`)
      }
    }
  })

  it('is told for every sparse layer of a network, and with the device', async () => {
    const routes = async (device: Device, dst = chts()) => {
      const model = mlp({ widths: [96, 80, 64, 4], density: 0.5 })
      using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), dst, device })
      return (await trainer.measures()).routes
    }
    expect(await routes(fastest)).to.deep.equal(['dense', 'dense'])
    expect(await routes(gpu())).to.deep.equal(['sparse', 'sparse'])
    const by = (route: PredictionRoute) => chts({ regrow: soft('CH2-L3n', { route }) })
    expect(await routes(fastest, by('sparse'))).to.deep.equal(['sparse', 'sparse'])
    expect(await routes(gpu(), by('dense'))).to.deep.equal(['dense', 'dense'])
    expect(await routes(fastest, chts({ regrow: soft('CH2-L3p') }))).to.deep.equal(['sparse', 'sparse'])
    expect(await routes(fastest, set())).to.equal(undefined)
    expect(await routes(cpu())).to.deep.equal(['auto', 'auto'])
    const told = [fastest, gpu(), cpu()].map((device) => device.info.deterministic)
    expect(told).to.deep.equal(['device', 'everywhere', 'everywhere'])
  })
})

describe('Device', () => {
  it("is deterministic 'device' or 'everywhere', where cuBLAS has no place", async () => {
    const open = (options: object) => () => new Device(options)
    const unknown = await expectRefusal(open({ kind: 'cpu', deterministic: 'nowhere' }), 'INVALID_ARGUMENT', 'nowhere')
    expect(unknown.message).to.match(/deterministic to be 'device' or 'everywhere', got 'nowhere'/)
    const cublas = open({ kind: 'cuda', blas: 'cublas', deterministic: 'everywhere' })
    const both = await expectRefusal(cublas, 'INVALID_ARGUMENT', 'cuBLAS')
    expect(both.message).to.match(/blas 'own' where deterministic is 'everywhere', got 'cublas'/)
    using everywhere = new Device({ kind: 'cpu', deterministic: 'everywhere' })
    expect(everywhere.predictionRoute(1568, 1568, 24_586, 'CH2-L3n')).to.equal('auto')
  })

  it('tells no route of a layer that there is not', async () => {
    for (const [rows, cols, links, predictor] of [
      [0, 4, 1, 'CH2-L3n'],
      [4, 1.5, 1, 'CH2-L3n'],
      [4, 4, -1, 'CH2-L3n'],
      [4, 4, 1, 'CH9'],
    ] as const) {
      const ask = () => cpu().predictionRoute(rows, cols, links, predictor as 'CH2-L3n')
      await expectRefusal(ask, 'INVALID_ARGUMENT', `${rows}, ${cols}, ${links}, ${predictor}`)
    }
  })
})
