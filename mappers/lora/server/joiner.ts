import type { GatewayHost } from '../../sdk/mapper.ts'
import type { JoinRequest } from '../codec.ts'
import type { NetworkEvents } from '../network.ts'
import { uplinkDrOf } from '../regions/region.ts'
import type { Copies } from './dedup.ts'
import type { DeviceIndex } from './device-index.ts'
import type { Heard } from './gateway.ts'
import { JOIN_ACCEPT_DELAY_S, joinedText, judgeJoin, pickDevAddr } from './join.ts'
import { type NetworkWishes, startState } from './mac-layer.ts'
import type { ServedDevice } from './served-device.ts'
import type { ServerStats } from './server-stats.ts'
import type { SessionStore } from './session.ts'
import { type Transmitter, windowsAfter } from './transmitter.ts'

export interface JoinerOptions {
  readonly host: GatewayHost
  readonly events: NetworkEvents
  readonly stats: ServerStats
  readonly store: SessionStore
  readonly devices: DeviceIndex
  readonly transmitter: Transmitter
  readonly wishes: NetworkWishes
  readonly netId: number
  readonly atMs: (heard: Heard) => number
  readonly trouble: (served: ServedDevice, kind: string, reason: string) => void
}

/** Lets devices into the network: judges a join request, keeps the new session, and answers in the join windows. */
export class Joiner {
  readonly #options: JoinerOptions

  constructor(options: JoinerOptions) {
    this.#options = options
  }

  join(request: JoinRequest, copies: Copies): void {
    const { devices, trouble } = this.#options
    const best = copies[0]
    const served = devices.byEui.get(request.devEui)
    if (served === undefined) {
      this.#stranger(request, best)
      return
    }
    const { region } = served.device
    const dr = best.modulation === undefined ? undefined : uplinkDrOf(region, best.modulation)
    if (dr === undefined) {
      trouble(served, 'join-rate', `${request.devEui} joins with a data rate that ${region.name} does not have`)
      return
    }
    try {
      this.#admit(served, request, copies, dr)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      trouble(served, 'storage', `the join cannot be kept: ${reason}`)
    }
  }

  #admit(served: ServedDevice, request: JoinRequest, copies: Copies, dr: number): void {
    const { host, events, store, devices, wishes, netId, atMs, trouble } = this.#options
    const best = copies[0]
    const { region } = served.device
    const verdict = judgeJoin(served, request, best.phy, {
      netId,
      wishes,
      store,
      freeDevAddr: () => pickDevAddr(netId, host.random, (devAddr) => devices.byAddr.has(devAddr)),
    })
    if (!verdict.accepted) {
      trouble(served, verdict.kind, verdict.reason)
      return
    }
    devices.renew(served, verdict.session)
    served.asked.clear()
    served.adr.reset()
    host.log('info', `lora: ${served.device.key} ${joinedText(verdict.session)}`)
    events.joined(served.device.key, atMs(best))
    // A join accept always comes where the region says, whatever the session will use.
    const radio = { ...startState(region), rx1Delay: JOIN_ACCEPT_DELAY_S }
    const windows = windowsAfter(region, { frequencyHz: best.frequencyHz, dr }, radio)
    void this.#sendAccept(served, verdict.phy, copies, windows)
  }

  async #sendAccept(
    served: ServedDevice,
    phy: Buffer,
    copies: Copies,
    windows: ReturnType<typeof windowsAfter>,
  ): Promise<void> {
    const { transmitter, trouble } = this.#options
    const result = await transmitter.send(served.device.devEui, phy, windows, copies)
    if ('failed' in result) trouble(served, 'join-accept', `the join accept was not sent: ${result.failed}`)
  }

  #stranger({ devEui, joinEui, devNonce }: JoinRequest, best: Heard): void {
    const { host, stats, atMs } = this.#options
    stats.problem('unknown-join', `${devEui} asks to join and is not configured`, devEui)
    host.sighted([
      {
        id: devEui,
        address: { devEui, joinEui, server: 'local' },
        candidates: [],
        facts: { joinEui, devNonce: String(devNonce), gateway: best.gateway, snr: `${best.snrDb} dB` },
        rssiDbm: best.rssiDbm,
        atMs: atMs(best),
      },
    ])
  }
}
