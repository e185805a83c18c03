import { type Clock, delay, systemClock } from '../../../api/clock.ts'
import { SluiceError } from '../../../api/errors.ts'
import { type BoardPlate, type SlotState, SmpClient } from '../smp/client.ts'
import { streamTransport } from '../smp/transport.ts'
import {
  type FlashOutcome,
  type FlashRunner,
  imageForSlot,
  nobody,
  type OpenLine,
  progressOf,
  refuseOther,
} from './runner.ts'

const KNOCKS = 330
const KNOCK_MS = 60
const ANSWER_MS = 600
/** Times that for a list: 1.2 s for the digest of a full slot and 1.5 s for its signature on a 16 MHz Cortex-M0. */
const LIST_PATIENCE = 10
/** From a reset to an application that answers: a signature takes 1.5 s on the slowest board, the bootloader listens 0.1 s. */
const COME_UP_MS = 20_000
const LOOK_MS = 250

/** What is in the board: its plate, and its slots. */
export interface SmpFindings {
  readonly plate: BoardPlate
  readonly slots: readonly SlotState[]
}

export interface SmpRunner extends FlashRunner {
  /** As `identify`, in full. */
  look(signal: AbortSignal): Promise<SmpFindings>
  /** Leaves the bootloader's recovery without having changed anything. */
  leave(signal: AbortSignal): Promise<void>
}

/**
 * SMP on a serial console: bootloaders of ours in recovery, applications that serve it on a line of its own, and any SMP
 * server that takes images. An image that the bootloader took is on trial: where no application answers on this line,
 * somebody else has to confirm it.
 */
export function smpRunner(line: OpenLine, clock: Clock = systemClock): SmpRunner {
  const transport = streamTransport(line, { clock })
  const client = new SmpClient(transport, { clock, timeoutMs: ANSWER_MS })
  let met = false

  /** The bootloader listens for a tenth of a second after a reset: whoever knocks long enough gets in. */
  const meet = async (signal: AbortSignal): Promise<void> => {
    for (let knocks = 0; !met; knocks++) {
      try {
        await client.echo('sluice', signal, KNOCK_MS)
        met = true
      } catch (error) {
        signal.throwIfAborted()
        const silent = error instanceof SluiceError && error.code === 'SLUICE_SMP_TIMEOUT'
        if (!silent) throw error
        if (knocks >= KNOCKS) throw nobody('on this line', 'Reset the board while this command waits.')
      }
    }
  }

  const look = async (signal: AbortSignal): Promise<SmpFindings> => {
    await meet(signal)
    return { plate: await client.plate(signal), slots: await client.images(signal, LIST_PATIENCE) }
  }

  /** Waits on this line for the application with this digest and confirms it. */
  const confirm = async (digest: Uint8Array, signal: AbortSignal): Promise<void> => {
    const wanted = Buffer.from(digest).toString('hex')
    for (const endMs = clock.monotonic() + COME_UP_MS; clock.monotonic() < endMs; await delay(clock, LOOK_MS, signal)) {
      const slots = await client.images(signal).catch((error: unknown) => {
        signal.throwIfAborted()
        if (error instanceof SluiceError && error.code === 'SLUICE_SMP_TIMEOUT') return []
        throw error
      })
      const active = slots.find((slot) => slot.active)
      if (Buffer.from(active?.hash ?? []).toString('hex') !== wanted) continue
      await client.confirm(signal)
      return
    }
    throw new SluiceError('SLUICE_FW_FLASH_TRIAL', 'the new image does not come up', {
      hint: 'Wait: the board goes back to its old image by itself after three starts.',
    })
  }

  return {
    name: 'smp',
    look,
    async identify(signal) {
      const { plate, slots } = await look(signal)
      const { board, id, recovery } = plate
      const running = slots.find((slot) => slot.slot === plate.running)
      return {
        board,
        chip: `${board} ${id}${recovery ? ', in recovery' : ''}`,
        ...(running === undefined ? {} : { running: running.version }),
      }
    },
    async leave(signal) {
      await client.reset(signal)
    },
    async flash(what, { signal, onProgress }): Promise<FlashOutcome> {
      const { plate, slots } = await look(signal)
      refuseOther({ board: plate.board, chip: plate.board }, what)
      refuseOnTrial(slots, plate.running)
      const slot = plate.slotAddresses[plate.running === 0 ? 1 : 0]
      const { bytes, image } = imageForSlot(what.images, slot ?? 0)
      const told = progressOf(bytes.length, () => clock.monotonic(), onProgress)
      await client.upload(bytes, { signal, onProgress: ({ sentBytes }) => told(sentBytes) })
      // The board reads its flash back and compares the digest before it takes the image.
      await client.test(image.digest, signal)
      await client.reset(signal)
      if (plate.recovery) return { trial: image.digest }
      await confirm(image.digest, signal)
      return {}
    },
    async [Symbol.asyncDispose]() {
      transport[Symbol.dispose]()
      await line[Symbol.asyncDispose]()
    },
  }
}

/** While an image is on trial, an image in the other slot is what the board goes back to: nothing is written over it. */
function refuseOnTrial(slots: readonly SlotState[], running: number | undefined): void {
  const current = slots.find(({ slot }) => slot === running)
  const wayBack = slots.find(({ slot, refusal }) => slot !== running && refusal === undefined)
  if (current === undefined || wayBack === undefined || current.confirmed) return
  if (!current.pending && (current.attempts ?? 0) === 0) return
  throw new SluiceError('SLUICE_FW_FLASH_ON_TRIAL', `${current.version} is on trial, the other slot is its way back`, {
    hint: 'Let a gateway confirm it, or let the board go back: it does so by itself after some minutes, or after three resets.',
  })
}
