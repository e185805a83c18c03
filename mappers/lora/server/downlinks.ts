import type { Clock } from '../../../api/clock.ts'
import { buildData, DATA_OVERHEAD, MAX_FOPTS_BYTES } from '../codec.ts'
import { buildMacCommands, type MacCommand, macLength } from '../mac-commands.ts'
import type { Downlink, DownlinkEnd } from '../network.ts'
import type { Copies } from './dedup.ts'
import { type NetworkWishes, requestsSent, type UplinkFacts, wantedRequests } from './mac-layer.ts'
import { MAX_ATTEMPTS, MAX_QUEUE, type QueuedDownlink, type ServedDevice } from './served-device.ts'
import type { SessionStore } from './session.ts'
import { anyTime, type Opportunity, type Transmitter } from './transmitter.ts'

/** A class C device that does not acknowledge within this time gets the downlink again. */
const CLASS_C_ACK_WAIT_MS = 10_000

export interface DownlinkTools {
  readonly clock: Clock
  readonly transmitter: Transmitter
  readonly store: SessionStore
  readonly wishes: NetworkWishes
  problem(kind: string, reason: string, devEui: string): void
  log(level: 'debug' | 'info' | 'warn', message: string): void
}

/** Why a downlink is due although nothing waits in the queue. */
export interface Occasion {
  readonly opportunities: readonly Opportunity[]
  readonly copies: Copies | readonly []
  readonly ack: boolean
  readonly answers: readonly MacCommand[]
  /** Requests may be asked along. Absent for class C at any time. */
  readonly facts?: UplinkFacts
  readonly mustAnswer: boolean
}

/** Queue, acknowledgement, repetition and expiry of downlinks, and putting one together. */
export class Downlinks {
  readonly #tools: DownlinkTools

  constructor(tools: DownlinkTools) {
    this.#tools = tools
  }

  enqueue(served: ServedDevice, downlink: Downlink): Promise<DownlinkEnd> {
    const { clock } = this.#tools
    const leftMs = downlink.deadlineMs - clock.monotonic()
    const refused = (code: string, reason: string): DownlinkEnd => ({
      state: 'refused',
      code,
      reason,
      atMs: clock.now(),
    })
    if (downlink.signal.aborted) {
      return Promise.resolve(refused('SLUICE_WRITE_SUPERSEDED', 'a newer value replaced it'))
    }
    if (served.queue.length >= MAX_QUEUE) {
      return Promise.resolve(
        refused('SLUICE_LORA_QUEUE', `${MAX_QUEUE} downlinks wait for ${served.device.devEui} already`),
      )
    }
    return new Promise((resolve) => {
      const end = (result: DownlinkEnd) => {
        timer.cancel()
        downlink.signal.removeEventListener('abort', onAbort)
        const at = served.queue.indexOf(queued)
        if (at >= 0) served.queue.splice(at, 1)
        if (served.awaiting === queued) {
          served.awaiting = undefined
          served.ackTimer?.cancel()
        }
        resolve(result)
      }
      const onAbort = () => end(refused('SLUICE_WRITE_SUPERSEDED', 'a newer value replaced it'))
      const timer = clock.after(Math.max(0, leftMs), () =>
        end({ state: 'expired', reason: this.waitingText(served, queued), atMs: clock.now() }),
      )
      const queued: QueuedDownlink = { downlink, attempts: 0, sentAtMs: undefined, end }
      downlink.signal.addEventListener('abort', onAbort, { once: true })
      served.queue.push(queued)
      if (served.device.deviceClass === 'C') void this.pump(served)
      else downlink.onWait?.(this.waitingText(served, queued))
    })
  }

  /** What a person is told of a downlink that has not arrived yet. */
  waitingText(served: ServedDevice, queued: Pick<QueuedDownlink, 'attempts' | 'sentAtMs'>): string {
    const next = served.nextWindowAtMs(this.#tools.clock.now())
    const when =
      next === undefined ? 'nothing is known of when it reports' : `expected at ${new Date(next).toISOString()}`
    if (served.device.deviceClass === 'C') {
      return queued.attempts === 0 ? 'no gateway could send it' : `sent ${times(queued.attempts)}, not acknowledged`
    }
    return queued.attempts === 0
      ? `not sent: the device listens only after it reported; the next receive window is ${when}`
      : `sent ${times(queued.attempts)}, not acknowledged; the device answers with its next uplink, ${when}`
  }

  /** An uplink came: does it acknowledge what was sent? What it does not is sent again, up to a limit. */
  acknowledge(served: ServedDevice, ack: boolean): void {
    const { awaiting } = served
    if (awaiting === undefined) return
    served.ackTimer?.cancel()
    served.awaiting = undefined
    const atMs = this.#tools.clock.now()
    if (ack) awaiting.end({ state: 'acknowledged', atMs })
    else this.#again(served, awaiting, atMs)
  }

  /** Class C: sends what waits, as long as nothing is under way. */
  async pump(served: ServedDevice): Promise<void> {
    const { session, device } = served
    if (session === undefined || served.sending || served.awaiting !== undefined || served.queue.length === 0) return
    const opportunities = anyTime(device.region, session.radio)
    await this.answer(served, {
      opportunities,
      copies: [],
      ack: false,
      answers: [],
      mustAnswer: false,
    })
    if (served.queue.length > 0 && served.awaiting === undefined && !served.sending) {
      const timer = this.#tools.clock.after(1000, () => void this.pump(served), true)
      served.ackTimer?.cancel()
      served.ackTimer = timer
    }
  }

  /** Sends one downlink if there is a reason to: an acknowledgement, MAC commands, or something in the queue. */
  async answer(served: ServedDevice, occasion: Occasion): Promise<void> {
    const { session } = served
    if (session === undefined || served.sending || occasion.opportunities.length === 0) return
    const waiting = served.awaiting === undefined ? served.queue[0] : undefined
    const requests =
      occasion.facts === undefined
        ? []
        : wantedRequests(served, this.#tools.wishes, occasion.facts, MAX_FOPTS_BYTES - macLength(occasion.answers))
    const commands = [...occasion.answers, ...requests]
    if (waiting === undefined && !occasion.ack && !occasion.mustAnswer && commands.length === 0) return
    served.sending = true
    try {
      await this.#place(served, occasion, waiting, commands)
    } catch (error) {
      this.#tools.problem('downlink', error instanceof Error ? error.message : String(error), served.device.devEui)
    } finally {
      served.sending = false
    }
  }

  async #place(
    served: ServedDevice,
    occasion: Occasion,
    waiting: QueuedDownlink | undefined,
    commands: readonly MacCommand[],
  ): Promise<void> {
    const { clock, store, transmitter } = this.#tools
    const session = served.session!
    // What cannot be a whole FOpts is left for the next time; answers come first.
    const options = buildMacCommands(commands.length > 0 && macLength(commands) <= MAX_FOPTS_BYTES ? commands : [])
    const room = Math.max(...occasion.opportunities.map(({ maxPayload }) => maxPayload))
    const payload = waiting?.downlink.payload
    const fits = payload !== undefined && payload.length + options.length <= room
    if (waiting !== undefined && !fits && payload!.length > room) this.#tooLong(served, waiting, room)
    const carried = fits ? waiting : undefined
    if (carried === undefined && options.length === 0 && !occasion.ack && !occasion.mustAnswer) return
    const size = options.length + (carried?.downlink.payload.length ?? 0)
    const chances = occasion.opportunities.filter(({ maxPayload }) => size <= maxPayload)
    // Asked before a counter is spent on it.
    const bytes = DATA_OVERHEAD + size + (carried === undefined ? 0 : 1)
    const why = transmitter.obstacle(bytes, chances, occasion.copies)
    if (why !== undefined) {
      carried?.downlink.onWait?.(`not sent yet: ${why}`)
      this.#tools.problem('downlink', `nothing sent to ${served.device.devEui}: ${why}`, served.device.devEui)
      return
    }
    const fCnt = session.fDown
    session.fDown++
    // The counter is spent before the frame exists: a key stream must never be used twice, whatever happens next.
    store.counted([[served.device.devEui, session]])
    const phy = buildData(
      {
        up: false,
        confirmed: carried?.downlink.confirmed ?? false,
        devAddr: session.devAddr,
        adr: served.device.adr,
        ack: occasion.ack,
        pending: served.queue.length > (carried === undefined ? 0 : 1),
        fCnt,
        fOpts: options,
        ...(carried === undefined ? {} : { port: carried.downlink.port, payload: carried.downlink.payload }),
      },
      session.keys.nwkSKey,
      session.keys.appSKey,
    )
    const result = await transmitter.send(served.device.devEui, phy, chances, occasion.copies)
    if ('failed' in result) {
      carried?.downlink.onWait?.(`not sent yet: ${result.failed}`)
      this.#tools.problem('downlink', `nothing sent to ${served.device.devEui}: ${result.failed}`, served.device.devEui)
      return
    }
    this.#tools.log(
      'debug',
      `lora: ${phy.length} bytes to ${served.device.devEui} through ${result.gateway}, ${Math.round(result.airtimeMs)} ms on the air`,
    )
    served.sentAirtimeMs += result.airtimeMs
    requestsSent(served, commands, clock.now())
    if (carried !== undefined) this.#sent(served, carried)
  }

  #sent(served: ServedDevice, queued: QueuedDownlink): void {
    const { clock } = this.#tools
    const at = served.queue.indexOf(queued)
    // It may have expired or been replaced while the gateway took it.
    if (at < 0) return
    served.queue.splice(at, 1)
    queued.attempts++
    queued.sentAtMs = clock.now()
    if (!queued.downlink.confirmed) {
      queued.end({ state: 'transmitted', atMs: queued.sentAtMs })
      return
    }
    served.awaiting = queued
    queued.downlink.onWait?.(this.waitingText(served, queued))
    if (served.device.deviceClass !== 'C') return
    served.ackTimer?.cancel()
    served.ackTimer = clock.after(CLASS_C_ACK_WAIT_MS, () => {
      if (served.awaiting !== queued) return
      served.awaiting = undefined
      this.#again(served, queued, clock.now())
      void this.pump(served)
    })
  }

  #again(served: ServedDevice, queued: QueuedDownlink, atMs: number): void {
    if (queued.attempts < MAX_ATTEMPTS) {
      served.queue.unshift(queued)
      queued.downlink.onWait?.(this.waitingText(served, queued))
      return
    }
    queued.end({
      state: 'refused',
      code: 'SLUICE_LORA_NOT_ACKNOWLEDGED',
      reason: `sent ${times(queued.attempts)}, and the device acknowledged none`,
      atMs,
    })
  }

  #tooLong(served: ServedDevice, queued: QueuedDownlink, room: number): void {
    const { payload } = queued.downlink
    queued.end({
      state: 'refused',
      code: 'SLUICE_LORA_TOO_LONG',
      reason: `${payload.length} bytes for ${served.device.devEui}, and ${room} are what its data rate carries now`,
      atMs: this.#tools.clock.now(),
    })
  }
}

const times = (count: number): string => (count === 1 ? 'once' : `${count} times`)
