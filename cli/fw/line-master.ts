import { type Clock, delay, systemClock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { gatewayModel } from '../../firmware/generator/emit-documents.ts'
import type { Made } from '../../firmware/project/make.ts'
import { type SlotState, SmpClient, SmpRefused } from '../../firmware/tools/smp/client.ts'
import { tunnelTransport } from '../../firmware/tools/smp/tunnel.ts'
import { createMapper } from '../../mappers/modbus/mapper.ts'

/** From a reset to an application that answers: a signature takes 1.5 s on the slowest board. */
const COME_UP_MS = 20_000
const LOOK_MS = 250
const ANSWER_MS = 400
const KEY = 'default/board'

/** A project's board on its Modbus line, asked as a gateway asks it. The port is free again when this is disposed. */
export function boardOnLine(
  { project, generated }: Made,
  port: string,
  clock: Clock = systemClock,
): { readonly client: SmpClient } & AsyncDisposable {
  const mapper = createMapper({
    clock,
    random: Math.random,
    readings: () => undefined,
    reachability: () => undefined,
    event: () => undefined,
    writeNews: () => undefined,
    log: () => undefined,
  })
  const { baud, parity, stopBits } = project.line
  const modbus = { rtu: { port, baud, parity, stopBits }, unit: project.unit }
  const device = { model: project.name, modbus, poll: { every: '1s' } }
  mapper.configure([{ key: KEY, device, model: gatewayModel(generated.model), revision: '1' }])
  const transport = tunnelTransport((pdu, options) => {
    const tunnel = mapper.tunnel?.(KEY)
    if (tunnel === undefined) throw new SluiceError('SLUICE_SMP_TUNNEL', 'the line cannot carry management')
    return tunnel.ask(pdu, options)
  })
  return {
    client: new SmpClient(transport, { clock, timeoutMs: ANSWER_MS }),
    [Symbol.asyncDispose]: () => mapper[Symbol.asyncDispose](),
  }
}

/**
 * Waits until the image with this digest runs and answers on its Modbus line, and confirms it. SLUICE_SMP_REFUSED with the
 * reason when the bootloader did not take it, SLUICE_FW_FLASH_TRIAL when nothing answers within 20 s: the board then goes
 * back by itself.
 */
export async function confirmOnLine(
  made: Made,
  port: string,
  digest: Uint8Array,
  signal: AbortSignal,
  clock: Clock = systemClock,
): Promise<SlotState> {
  await using board = boardOnLine(made, port, clock)
  const wanted = Buffer.from(digest).toString('hex')
  for (const endMs = clock.monotonic() + COME_UP_MS; clock.monotonic() < endMs; await delay(clock, LOOK_MS, signal)) {
    const slots = await board.client.images(signal).catch((error: unknown) => {
      signal.throwIfAborted()
      if (error instanceof SluiceError && PASSING.has(error.code)) return []
      throw error
    })
    const active = slots.find((slot) => slot.active)
    if (active === undefined) continue
    if (Buffer.from(active.hash).toString('hex') === wanted) {
      await board.client.confirm(signal)
      return active
    }
    // The old image runs again, and knows why the bootloader did not take the new one.
    const refusal = slots.find(({ hash }) => Buffer.from(hash).toString('hex') === wanted)?.refusal
    if (refusal === 'exhausted') throw onTrial('the new image was started three times and never answered', WENT_BACK)
    if (refusal !== undefined) throw new SmpRefused(0, refusal, 'start the new image')
  }
  throw onTrial('the new image does not answer on its Modbus line', STAYS)
}

const onTrial = (message: string, hint: string): SluiceError =>
  new SluiceError('SLUICE_FW_FLASH_TRIAL', message, { hint })
const WENT_BACK = 'The board runs its old image again. "sluice fw emulate" shows what the new one does.'
const STAYS =
  'It stays on trial, and the board goes back to its old image by itself. Where its line is another port: --no-confirm.'

const PASSING = new Set([
  'SLUICE_SMP_TIMEOUT',
  'SLUICE_SMP_TUNNEL',
  'SLUICE_SMP_ANSWER',
  'SLUICE_MODBUS_LINK_DOWN',
  'SLUICE_MODBUS_SERIAL_OPEN',
])
