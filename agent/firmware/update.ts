import { delay } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { FirmwareOrder, OrderedImage } from '../../api/link/firmware.ts'
import { compareVersions, ImageError, parseVersion } from '../../firmware/tools/image.ts'
import { publicKeyObject, publicKeyOf } from '../../firmware/tools/keys.ts'
import { verifyImage } from '../../firmware/tools/sign.ts'
import { type BoardPlate, type SlotState, SmpClient, SmpRefused } from '../../firmware/tools/smp/client.ts'
import { tunnelTransport } from '../../firmware/tools/smp/tunnel.ts'
import type { DeviceTunnel, Reading } from '../../mappers/sdk/mapper.ts'
import { HealthCheck } from './health.ts'
import type { UpdateTools, UpdateWord } from './update-tools.ts'

/** What is remembered of an attempt over a restart of the agent. */
export interface UpdateNote {
  readonly attempt: string
  /** Wall clock at which the board was restarted into the new image; absent before. */
  readonly triedAtMs?: number
  /** Properties that were good before. */
  readonly goodBefore?: readonly string[]
}

/** Resets after which a board has used up the attempts of an image on trial, and one to spare. */
const ROLLBACK_RESETS = 4
/**
 * For an answer; a chunk may take twice, its first and a check ten times as long: erasing a page takes up to 0.4 s. While
 * one is waited for, nobody on the line is polled, and a lost one is asked for again.
 */
export const ANSWER_MS = 400
const AFTER_RESET_MS = 1500
const LOOK_EVERY_MS = 1000
/** After the health check is over, for a confirmation that has to be said more than once. */
const TRIAL_SPARE_S = 60
const TRIAL_MOST_S = 86_400
const HEALTH_LOOK_MS = 250
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')

const failed = (code: string, message: string, hint?: string): SluiceError =>
  new UpdateFailed(code, message, hint === undefined ? {} : { hint })

/** An end that trying again would not change. */
export class UpdateFailed extends SluiceError {}

/**
 * One order carried out on one board, from wherever it stands: the board itself knows how far it is, so that this goes on
 * after either side restarted. Gives the last word; throws what is worth another try later.
 */
export class Update {
  readonly #order: FirmwareOrder
  readonly #tunnel: DeviceTunnel
  readonly #tools: UpdateTools
  readonly #client: SmpClient
  readonly #signal: AbortSignal

  constructor(order: FirmwareOrder, tunnel: DeviceTunnel, tools: UpdateTools, signal: AbortSignal) {
    this.#order = order
    this.#tunnel = tunnel
    this.#tools = tools
    this.#signal = signal
    const transport = tunnelTransport((pdu, options) => tunnel.ask(pdu, options))
    this.#client = new SmpClient(transport, { clock: tools.clock, timeoutMs: ANSWER_MS })
  }

  async run(): Promise<UpdateWord> {
    this.#tools.say({ state: 'asking' })
    const plate = await this.#plate()
    if (this.#order.goBack !== true) this.#admit(plate)
    const slots = await this.#client.images(this.#signal)
    const active = slots.find(({ active }) => active)
    const { images } = this.#order
    if (this.#order.goBack === true) return this.#goBack(slots)
    const ours = images.find(({ digest }) => digest === hex(active?.hash))
    if (active !== undefined && ours !== undefined) {
      if (active.confirmed || active.pending === false) return this.#settled(active)
      return this.#judge(ours)
    }
    const image = images.find(({ slotAddress }) => slotAddress === idleSlot(plate))
    if (image === undefined)
      throw failed(
        'SLUICE_FW_UPDATE_SLOT',
        `the release has no image for the slot at 0x${idleSlot(plate)?.toString(16) ?? '?'} of this board`,
        'Sign the variants for both slots into the release.',
      )
    const there = slots.find(({ hash }) => hex(hash) === image.digest)
    const note = this.#tools.note()
    const spent = there?.refusal !== undefined || (there?.attempts ?? 0) > 0
    if (note?.triedAtMs !== undefined && spent) return rolledBack(active, there)
    await this.#send(image, plate, active)
    await this.#client.test(Buffer.from(image.digest, 'hex'), this.#signal)
    const triedAtMs = this.#tools.clock.now()
    this.#tools.remember({ attempt: this.#order.attempt, triedAtMs, goodBefore: this.#tools.goodProperties() })
    await this.#client.reset(this.#signal)
    return this.#judge(image)
  }

  async #plate(): Promise<BoardPlate> {
    try {
      return await this.#client.plate(this.#signal)
    } catch (error) {
      const code = error instanceof SluiceError ? error.code : ''
      if (code !== 'SLUICE_SMP_TUNNEL' && !(error instanceof SmpRefused)) throw error
      const hint = 'Flash it once with firmware made by "sluice fw": from then on it is updated over its line.'
      throw failed('SLUICE_FW_UPDATE_UNMANAGED', 'the device is no board that can be updated over its line', hint)
    }
  }

  #admit(plate: BoardPlate): void {
    const { board, modelHash, securityCounter } = this.#order
    if (plate.board !== board)
      throw failed('SLUICE_FW_UPDATE_BOARD', `the release is for ${board}, this is a ${plate.board}`)
    if (hex(this.#tunnel.modelHash) !== modelHash)
      throw failed(
        'SLUICE_FW_UPDATE_MODEL',
        `the release was made of another model (${modelHash}) than the device has here (${hex(this.#tunnel.modelHash)})`,
        'Apply the model the release was built from, or build it from the model in force.',
      )
    if (securityCounter < plate.securityCounter)
      throw failed(
        'SLUICE_FW_UPDATE_ROLLBACK',
        `security counter ${securityCounter} is below ${plate.securityCounter}, which the board has confirmed`,
      )
  }

  /** Brings the image to the board; what is there already is not sent again. */
  async #send(image: OrderedImage, plate: BoardPlate, active: SlotState | undefined): Promise<void> {
    const { images, say } = this.#tools
    if (!images.has(image.sha256)) {
      const { sha256 } = image
      say({ state: 'fetching', needs: { sha256, fromByte: images.partialBytes(sha256) } })
      await images.arrived(sha256, this.#signal)
    }
    const bytes = await images.read(image.sha256)
    this.#verify(bytes, image, plate, active)
    say({ state: 'sending', percent: 0 })
    await this.#client.upload(bytes, {
      signal: this.#signal,
      onProgress: ({ sentBytes, totalBytes }) =>
        say({ state: 'sending', percent: Math.floor((sentBytes * 100) / totalBytes) }),
    })
  }

  #verify(bytes: Uint8Array, image: OrderedImage, plate: BoardPlate, active: SlotState | undefined): void {
    const { board, publicKey, allowDevelopmentKey, modelHash, version } = this.#order
    const key = publicKeyOf(publicKeyObject({ raw: Buffer.from(publicKey, 'hex'), development: false }))
    try {
      const said = verifyImage(bytes, {
        keys: [key],
        production: !allowDevelopmentKey,
        board,
        slotAddress: image.slotAddress,
        securityCounter: plate.securityCounter,
        modelHash: Buffer.from(modelHash, 'hex'),
      })
      if (hex(said.digest) !== image.digest || compareVersions(said.version, parseVersion(version)) !== 0)
        throw failed('SLUICE_FW_UPDATE_IMAGE', 'the image is another one than the release says')
      if (active !== undefined && compareVersions(said.version, parseVersion(active.version)) < 0)
        throw failed('SLUICE_FW_UPDATE_DOWNGRADE', `version ${version} is older than ${active.version}, which runs`)
    } catch (error) {
      if (error instanceof UpdateFailed || !(error instanceof SluiceError)) throw error
      const code = error instanceof ImageError ? 'SLUICE_FW_UPDATE_IMAGE' : error.code
      throw failed(code, `the image was not sent: ${error.message}`, error.hint)
    }
  }

  /** Waits for the new image to come up and to be well; confirms it, or brings the old one back. */
  async #judge(image: OrderedImage): Promise<UpdateWord> {
    const { clock, say } = this.#tools
    const note = this.#tools.note()
    const { polls, timeoutMs } = this.#order.health
    const endMs = clock.monotonic() + timeoutMs - Math.max(0, clock.now() - (note?.triedAtMs ?? clock.now()))
    const active = await this.#up(image, endMs)
    if (active === undefined) return this.#rollBack(image, 'it did not come up')
    if (hex(active.hash) !== image.digest) {
      const slots = await this.#client.images(this.#signal)
      return rolledBack(
        active,
        slots.find(({ hash }) => hex(hash) === image.digest),
      )
    }
    // It answers: from here on it has as long as the order says, and not what it gives itself.
    const leftS = Math.ceil((endMs - clock.monotonic()) / 1000) + TRIAL_SPARE_S
    await this.#unlessRefused(this.#client.trial(Math.min(Math.max(leftS, 1), TRIAL_MOST_S), this.#signal))
    say({ state: 'checking', running: active.version })
    const check = new HealthCheck(this.#tools.device, polls, note?.goodBefore ?? [])
    const stop = this.#tools.onReadings((batch: readonly Reading[]) => check.take(batch))
    try {
      for (let told = ''; !check.healthy; ) {
        if (clock.monotonic() >= endMs) return await this.#rollBack(image, check.why)
        await delay(clock, HEALTH_LOOK_MS, this.#signal)
        if (check.why !== told) say({ state: 'checking', running: active.version, message: (told = check.why) })
      }
    } finally {
      stop()
    }
    const plate = await this.#client.plate(this.#signal)
    if (hex(plate.modelHash) !== this.#order.modelHash)
      return this.#rollBack(image, `it says it is made of the model ${hex(plate.modelHash)}`)
    const slots = await this.#client.images(this.#signal)
    const now = slots.find(({ active }) => active)
    // It may have crashed in the last moment.
    if (now === undefined || hex(now.hash) !== image.digest) return rolledBack(now, undefined)
    await this.#client.confirm(this.#signal)
    return { state: 'confirmed', running: now.version }
  }

  /** What runs, as soon as the board answers; undefined when it does not in time. */
  async #up(image: OrderedImage, endMs: number): Promise<SlotState | undefined> {
    const { clock, say } = this.#tools
    say({ state: 'trying' })
    for (let waitMs = AFTER_RESET_MS; ; waitMs = LOOK_EVERY_MS) {
      await delay(clock, waitMs, this.#signal)
      const active = await this.#activeNow()
      const resetting = active !== undefined && hex(active.hash) !== image.digest && !(await this.#tried(image))
      if (active !== undefined && !resetting) return active
      if (clock.monotonic() >= endMs) return undefined
    }
  }

  /** A board that has not gone down yet still runs what it ran. */
  async #tried(image: OrderedImage): Promise<boolean> {
    const slots = await this.#client.images(this.#signal)
    const there = slots.find(({ hash }) => hex(hash) === image.digest)
    return there === undefined || there.refusal !== undefined || (there.attempts ?? 0) > 0
  }

  async #activeNow(): Promise<SlotState | undefined> {
    try {
      const slots = await this.#client.images(this.#signal)
      return slots.find(({ active }) => active)
    } catch (error) {
      this.#signal.throwIfAborted()
      if (error instanceof SluiceError && PASSING.has(error.code)) return undefined
      throw error
    }
  }

  async #rollBack(image: OrderedImage, why: string): Promise<UpdateWord> {
    const { clock, say } = this.#tools
    for (let resets = 0; resets < ROLLBACK_RESETS; resets++) {
      say({ state: 'trying', message: `rolling back: ${why}` })
      const active = await this.#activeNow()
      if (active === undefined) break
      if (hex(active.hash) !== image.digest)
        return { state: 'rolledBack', running: active.version, code: 'SLUICE_FW_UPDATE_UNHEALTHY', message: why }
      // At once where the board can; others have used up their attempts after so many resets.
      await this.#unlessRefused(this.#client.revert(this.#signal))
      await this.#client.reset(this.#signal)
      await delay(clock, AFTER_RESET_MS, this.#signal)
    }
    // Its watchdog or the time of its trial brings it back; the next look tells.
    throw new SluiceError('SLUICE_FW_UPDATE_AWAY', `the board does not answer after the update: ${why}`, {
      hint: 'It goes back by itself after three starts of three minutes; nothing has to be done.',
    })
  }

  /** What ran before the images of the order runs again; a board that runs none of them is left alone. */
  async #goBack(slots: readonly SlotState[]): Promise<UpdateWord> {
    const { clock, say } = this.#tools
    const ours = ({ hash }: SlotState): boolean => this.#order.images.some(({ digest }) => digest === hex(hash))
    say({ state: 'reverting' })
    const active = slots.find(({ active }) => active)
    if (active === undefined) throw failed('SLUICE_FW_UPDATE_UNMANAGED', 'the board does not say what it runs')
    if (!ours(active)) {
      // Asked for and not started yet: the next reset must not find it.
      if (slots.some((slot) => ours(slot) && slot.pending)) await this.#client.erase(this.#signal)
      return { state: 'reverted', running: active.version }
    }
    await this.#client.revert(this.#signal).catch((error: unknown) => {
      if (!(error instanceof SmpRefused)) throw error
      throw failed(
        'SLUICE_FW_UPDATE_KEPT',
        `the board keeps ${active.version}: ${error.message}`,
        'Bring the image before with a release of a higher version.',
      )
    })
    await this.#client.reset(this.#signal)
    for (const endMs = clock.monotonic() + this.#order.health.timeoutMs; clock.monotonic() < endMs; ) {
      await delay(clock, AFTER_RESET_MS, this.#signal)
      const now = await this.#activeNow()
      if (now !== undefined && !ours(now)) return { state: 'reverted', running: now.version }
    }
    throw new SluiceError('SLUICE_FW_UPDATE_AWAY', 'the board has not come up with the image before', {
      hint: 'It is asked again; look at its power and its line.',
    })
  }

  /** What boards of an older core do not know. */
  async #unlessRefused(asked: Promise<unknown>): Promise<void> {
    await asked.catch((error: unknown) => {
      if (!(error instanceof SmpRefused)) throw error
    })
  }

  #settled(active: SlotState): UpdateWord {
    return { state: 'confirmed', running: active.version }
  }
}

/** Failures of the wire that pass by themselves. */
export const PASSING = new Set([
  'SLUICE_SMP_TIMEOUT',
  'SLUICE_SMP_TUNNEL',
  'SLUICE_SMP_ANSWER',
  'SLUICE_MODBUS_LINK_DOWN',
])

/** Address of the slot that does not run. */
function idleSlot({ slotAddresses, running }: BoardPlate): number | undefined {
  return slotAddresses.find((_, slot) => slot !== (running ?? 1))
}

function rolledBack(active: SlotState | undefined, there: SlotState | undefined): UpdateWord {
  const why = there?.refusal
  return {
    state: 'rolledBack',
    ...(active === undefined ? {} : { running: active.version }),
    code: 'SLUICE_FW_UPDATE_REVERTED',
    message: `the board went back to ${active?.version ?? 'its old image'}${why === undefined ? '' : ` (${why})`}`,
  }
}
