import type { Page } from 'playwright-core'
import { httpsCall } from '../../cloudcore/testing/scripted-agent.ts'
import { inParallel, startGateways } from '../hub-fleet.ts'
import { createDevice, createModel, createToken, type RunningCloud, startCloud } from '../twin-path.ts'
import { step } from './step.ts'

/** Devices a gateway. */
export const DEVICES = 10

export interface FleetOptions {
  readonly gateways: number
  /** How many properties of a device change at once, 1 to 10. */
  readonly properties: number
  /** How many devices of a gateway report at once, in turn. */
  readonly atOnce: number
  /** How often each gateway reports. */
  readonly everyMs: number
  /** For how long they report. */
  readonly seconds: number
}

export interface LiveFleet extends AsyncDisposable {
  readonly cloud: RunningCloud
}

/**
 * A cloud core with its embedded API, filled with gateways of ten devices of ten properties. Every gateway holds a real
 * link and reports, spread over the period, from the moment this returns.
 */
export async function startFleet({ gateways, ...changes }: FleetOptions): Promise<LiveFleet> {
  await using starting = new AsyncDisposableStack()
  const cloud = starting.use(await startCloud())
  await createModel(cloud.kube)
  const far = starting.use(startGateways())
  const tokens: { gateway: string; token: string }[] = []
  await inParallel(gateways, async (index) => {
    const gateway = `gw-${index}`
    tokens.push({ gateway, token: await createToken(cloud, gateway) })
    for (let device = 0; device < DEVICES; device++) await createDevice(cloud.kube, `d-${index}-${device}`, gateway)
  })
  const { hubUrl, caPem } = cloud
  await far.step(JSON.stringify({ hubUrl, caPem, tokens, devices: DEVICES, ...changes }))
  await far.step('connect')
  // Answers at its end only, which nobody may wait for.
  far.step('report').catch(() => {})
  const held = starting.move()
  return { cloud, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** An address of the console that signs in once, as an administrator. */
export async function invitation({ hubUrl, caPem, token }: RunningCloud): Promise<string> {
  const headers = { authorization: `Bearer ${token}` }
  const answer = await httpsCall(`${hubUrl}/v1/console`, { method: 'POST', caPem, headers, body: { role: 'admin' } })
  return (JSON.parse(answer.body) as { url: string }).url
}

/** How long a view may take before something must have gone wrong. */
const OPEN_MS = 20_000

/** Opens a view by its address and waits until its content is drawn: milliseconds as the page itself counts them. */
export const openView = (page: Pick<Page, 'evaluate'>, path: string, selector: string): Promise<number> =>
  step(
    `opening ${path}`,
    OPEN_MS,
    page.evaluate<number>(`(async () => {
      const startMs = performance.now()
      location.hash = ${JSON.stringify(path)}
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve))
      while (document.querySelector(${JSON.stringify(selector)}) === null) {
        if (performance.now() - startMs > ${OPEN_MS}) return Number.NaN
        await frame()
      }
      await frame()
      return performance.now() - startMs
    })()`),
  ).then((tookMs) => {
    if (Number.isNaN(tookMs)) throw new Error(`opening ${path}: nothing that fits '${selector}' within ${OPEN_MS} ms`)
    return tookMs
  })

/** The views a person goes through, and what shows that each is there. */
export const VIEWS = {
  'devices of all': ['#/devices', '.rows .c-values'],
  'one gateway': ['#/gateway/gw-7', '.rows .c-values'],
  'one device': ['#/device/default/d-7-1', '.widget'],
  fleet: ['#/fleet', '.rows .c-devices'],
} as const
