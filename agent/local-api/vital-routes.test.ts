import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { requestJson } from '../../api/client/http.ts'
import type { SluiceError } from '../../api/errors.ts'
import { type CalibrationState, Calibrator } from '../calibrator.ts'
import type { Calibration } from '../energy/calibrate.ts'
import type { Energy } from '../energy/energy.ts'
import type { PowerModel } from '../energy/model.ts'
import { emptySample } from '../energy/sample.test-helper.ts'
import type { Sample } from '../energy/source.ts'
import { answerVitals, type VitalRoutes } from './vital-routes.ts'

const GUESS: PowerModel = {
  ...{ idleWatts: 5, cpuWatts: 1, frequencyWatts: 0, radioJPerByte: 0, storageJPerByte: 0 },
  ...{ errorPercent: 50, origin: 'a guess', calibrated: false },
}

/** A gateway that takes 3 W at rest and 2 W for every busy core, with a meter that says so. */
class MeteredEnergy implements Energy {
  model = GUESS
  readonly #observers = new Set<(sample: Sample) => void>()

  start(): void {}
  configure(): void {}
  adopt(model: PowerModel): void {
    this.model = model
  }
  observe(observer: (sample: Sample) => void): Disposable {
    this.#observers.add(observer)
    return { [Symbol.dispose]: () => void this.#observers.delete(observer) }
  }
  snapshot() {
    const meter = (name: string, covers: 'machine' | 'part') =>
      ({ meter: name, by: name, covers, source: 'measured', joules: 0 }) as const
    return {
      totals: { measuredJ: 0, estimatedJ: 0, unknownS: 0 },
      meters: [meter('hwmon:ina226', 'part'), meter('device:plant/meter-1', 'machine')],
      ...{ zones: [], packs: [], sources: [] },
    }
  }
  vitals() {
    return {}
  }
  async [Symbol.asyncDispose](): Promise<void> {}

  get watched(): number {
    return this.#observers.size
  }
  run(seconds: number): void {
    for (let second = 0; second < seconds; second++) {
      const busyCpuS = Math.floor(second / 30) % 4
      const reading = { meter: 'device:plant/meter-1', by: 'device', covers: 'machine', source: 'measured' } as const
      const sample: Sample = {
        ...emptySample({ monotonicMs: second * 1000 }),
        meters: [{ ...reading, watts: 3 + 2 * busyCpuS }],
        activity: { busyCpuS, totalCpuS: 4, frequencyRatio: 1 },
      }
      for (const observer of this.#observers) observer(sample)
    }
  }
}

let energy: MeteredEnergy
let server: Server
let url: string
const looked: boolean[] = []

beforeEach(async () => {
  energy = new MeteredEnergy()
  const routes: VitalRoutes = {
    energy: () => energy.snapshot(),
    network: async (look) => {
      looked.push(look)
      return { link: { reconnects: 0 }, hub: null, connected: false, networks: [] }
    },
    policy: () => ({ facts: {}, stage: 'normal', readsPerSecond: 0, stages: [], devices: [], more: 0, pods: [] }),
    calibrator: new Calibrator(energy),
  }
  server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://x')
    const read = async () => {
      let text = ''
      for await (const chunk of request.setEncoding('utf8') as AsyncIterable<string>) text += chunk
      return JSON.parse(text) as unknown
    }
    try {
      const parts = pathname.split('/').filter((part) => part !== '')
      if (!(await answerVitals(routes, request, response, parts, searchParams, read))) response.writeHead(404).end('{}')
    } catch (thrown) {
      const { code, message, hint } = thrown as SluiceError
      response.writeHead(422).end(JSON.stringify({ code, message, hint }))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  server.close()
  await once(server, 'close')
})

const call = <T>(method: string, path: string, body?: object) =>
  requestJson<T>(
    { kind: 'http', url },
    { method, path, signal: AbortSignal.timeout(5000), ...(body === undefined ? {} : { body }) },
  )

describe('the routes of power and link', () => {
  it('ask nl80211 only when somebody wants to know now', async () => {
    await call('GET', '/v1/network')
    await call('GET', '/v1/network?look=now')
    expect(looked).toEqual([false, true])
  })

  it('fit the model to the meter that measures the whole, and adopt it only when asked to', async () => {
    const path = '/v1/energy/calibration'
    expect(await call<CalibrationState>('POST', path, {})).toMatchObject({ meter: 'device:plant/meter-1', points: 0 })
    energy.run(600)
    const { points, needed } = await call<CalibrationState>('GET', path)
    expect(points).toBeGreaterThanOrEqual(needed)
    const fit = await call<Calibration>('POST', path, { finish: true })
    expect(fit.model.idleWatts).toBeCloseTo(3, 1)
    expect(fit.model.cpuWatts + fit.model.frequencyWatts).toBeCloseTo(2, 1)
    expect(fit.errorPercent).toBeLessThan(1)
    expect(energy.model).toBe(GUESS)
    expect(energy.watched).toBe(0)
    await call('POST', path, { meter: 'device:plant/meter-1' })
    energy.run(600)
    await call('POST', path, { finish: true, adopt: true })
    expect(energy.model.idleWatts).toBeCloseTo(3, 1)
  })

  it('say what is missing: a meter, a recording, enough of it; and forget a recording that is not wanted', async () => {
    const path = '/v1/energy/calibration'
    await expect(call('POST', path, { finish: true })).rejects.toMatchObject({ code: 'SLUICE_ENERGY_NO_CALIBRATION' })
    await expect(call('POST', path, { meter: 'nobody' })).rejects.toMatchObject({ code: 'SLUICE_ENERGY_NO_METER' })
    await expect(call('POST', path, { meter: 7 })).rejects.toMatchObject({ code: 'SLUICE_API_BAD_REQUEST' })
    await call('POST', path, {})
    await expect(call('POST', path, { finish: true })).rejects.toMatchObject({ code: 'SLUICE_ENERGY_CALIBRATION' })
    await call('DELETE', path)
    expect(energy.watched).toBe(0)
    await expect(call('PUT', '/v1/energy')).rejects.toMatchObject({ code: 'SLUICE_API_METHOD' })
  })
})
