import type { IncomingMessage, ServerResponse } from 'node:http'
import { SluiceError } from '../../api/errors.ts'
import type { GatewayStatus } from '../../api/resources.ts'
import type { NetworkStatus } from '../../api/schema/power.ts'
import type { CalibrationState, Calibrator } from '../calibrator.ts'
import type { Calibration } from '../energy/calibrate.ts'
import type { EnergySnapshot } from '../energy/snapshot.ts'
import type { PolicyExplanation } from '../policy/explain.ts'
import type { StationLook } from '../radio/station.ts'
import { answer } from './server.ts'

/** `GET /v1/network`: the way to the hub and every interface that leads out. */
export interface NetworkView {
  readonly link: GatewayStatus['link']
  readonly hub: string | null
  readonly connected: boolean
  readonly networks: readonly (NetworkStatus & { readonly station?: StationLook })[]
}

export interface VitalRoutes {
  readonly energy: () => EnergySnapshot
  /** `look`: what only nl80211 knows is asked for first. */
  readonly network: (look: boolean) => Promise<NetworkView>
  readonly policy: () => PolicyExplanation
  readonly calibrator: Calibrator
}

/**
 *     GET    /v1/energy               EnergySnapshot
 *     GET    /v1/energy/calibration   CalibrationState
 *     POST   /v1/energy/calibration   {meter?} begins a recording, {finish: true, adopt?} fits it -> Calibration
 *     DELETE /v1/energy/calibration   forgets the recording
 *     GET    /v1/network              NetworkView; `?look=now` asks nl80211 first
 *     GET    /v1/policy               PolicyExplanation
 *
 * Answers whether it was one of them.
 */
export async function answerVitals(
  routes: VitalRoutes,
  request: IncomingMessage,
  response: ServerResponse,
  parts: readonly string[],
  query: URLSearchParams,
  readBody: () => Promise<unknown>,
): Promise<boolean> {
  const path = parts.slice(1).join('/')
  if (parts[0] !== 'v1' || !PATHS.has(path)) return false
  if (path === 'energy/calibration' && request.method === 'POST') {
    answer(response, 200, calibrate(routes.calibrator, await readBody()))
    return true
  }
  if (path === 'energy/calibration' && request.method === 'DELETE') {
    routes.calibrator[Symbol.dispose]()
    answer(response, 200, routes.calibrator.state)
    return true
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    throw new SluiceError('SLUICE_API_METHOD', `${request.method} is not possible here`, { hint: 'Use GET.' })
  }
  if (path === 'energy') answer(response, 200, routes.energy())
  else if (path === 'network') answer(response, 200, await routes.network(query.get('look') === 'now'))
  else if (path === 'policy') answer(response, 200, routes.policy())
  else answer(response, 200, routes.calibrator.state)
  return true
}

const PATHS = new Set(['energy', 'energy/calibration', 'network', 'policy'])

function calibrate(calibrator: Calibrator, body: unknown): CalibrationState | Calibration {
  const words: Readonly<Record<string, unknown>> = typeof body === 'object' && body !== null ? { ...body } : {}
  const { meter, finish, adopt } = words
  if (meter !== undefined && (typeof meter !== 'string' || meter.length > 320)) {
    throw new SluiceError('SLUICE_API_BAD_REQUEST', "The request body has a 'meter' that is no short text", {
      hint: 'Send {"meter": "device:plant/meter-1"}, or {} for the one that measures the whole.',
    })
  }
  if (finish === true) return calibrator.finish(adopt === true)
  calibrator.start(meter)
  return calibrator.state
}
