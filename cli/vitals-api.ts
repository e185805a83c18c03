import { existsSync } from 'node:fs'
import type { CalibrationState } from '../agent/calibrator.ts'
import type { Calibration } from '../agent/energy/calibrate.ts'
import type { EnergySnapshot } from '../agent/energy/snapshot.ts'
import type { NetworkView } from '../agent/local-api/vital-routes.ts'
import type { PolicyExplanation } from '../agent/policy/explain.ts'
import { type Endpoint, requestJson } from '../api/client/http.ts'
import { SluiceError } from '../api/errors.ts'
import type { NoticeView } from '../api/views.ts'
import { dataFolder, socketPath } from './device-api.ts'
import type { OptionSpecs } from './verb.ts'

/** Options of the verbs that only the agent of this machine can answer. */
export const AGENT_OPTIONS = {
  data: { kind: 'text', value: 'DIR', help: 'Folder of the agent (also: SLUICE_DATA).' },
} as const satisfies OptionSpecs

/** Power, network and policy as the agent of this machine tells them. */
export class VitalsApi {
  readonly #endpoint: Endpoint

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint
  }

  energy(signal: AbortSignal): Promise<EnergySnapshot> {
    return requestJson<EnergySnapshot>(this.#endpoint, { path: '/v1/energy', signal })
  }

  network(look: boolean, signal: AbortSignal): Promise<NetworkView> {
    return requestJson<NetworkView>(this.#endpoint, { path: `/v1/network${look ? '?look=now' : ''}`, signal })
  }

  policy(signal: AbortSignal): Promise<PolicyExplanation> {
    return requestJson<PolicyExplanation>(this.#endpoint, { path: '/v1/policy', signal })
  }

  async notices(signal: AbortSignal): Promise<readonly NoticeView[]> {
    const { items } = await requestJson<{ items: readonly NoticeView[] }>(this.#endpoint, {
      path: '/v1/notices',
      signal,
    })
    return items
  }

  calibration(signal: AbortSignal): Promise<CalibrationState> {
    return requestJson<CalibrationState>(this.#endpoint, { path: CALIBRATION, signal })
  }

  startCalibration(meter: string | undefined, signal: AbortSignal): Promise<CalibrationState> {
    const body = meter === undefined ? {} : { meter }
    return requestJson<CalibrationState>(this.#endpoint, { method: 'POST', path: CALIBRATION, body, signal })
  }

  finishCalibration(adopt: boolean, signal: AbortSignal): Promise<Calibration> {
    const body = { finish: true, adopt }
    return requestJson<Calibration>(this.#endpoint, { method: 'POST', path: CALIBRATION, body, signal })
  }

  cancelCalibration(signal: AbortSignal): Promise<CalibrationState> {
    return requestJson<CalibrationState>(this.#endpoint, { method: 'DELETE', path: CALIBRATION, signal })
  }
}

const CALIBRATION = '/v1/energy/calibration'

/** The agent of this folder. Throws SLUICE_CLIENT_UNREACHABLE where there is none. */
export function openVitalsApi(
  options: { readonly data: string | undefined },
  env: Readonly<Record<string, string | undefined>>,
): VitalsApi {
  const data = dataFolder(options.data, env)
  const path = socketPath(data)
  if (existsSync(path)) return new VitalsApi({ kind: 'socket', path })
  throw new SluiceError('SLUICE_CLIENT_UNREACHABLE', `No agent keeps its data in ${data}`, {
    hint: "This is asked of the gateway itself: start it with 'sluice up' or 'sluice agent', or name its folder with --data.",
  })
}
