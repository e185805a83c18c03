import { toSluiceError } from '../../api/errors.ts'
import type { ModbusSession } from './session.ts'

/**
 * Finds SunSpec's map in a device: 'SunS' at one of three base addresses, then a chain of models, each an id and a
 * length before its registers (SunSpec Device Information Model Specification V1.1, section 6).
 */
export interface SunSpecMap {
  readonly base: number
  /** In the order of the chain; `at` is the address of the id. */
  readonly models: readonly { readonly id: number; readonly length: number; readonly at: number }[]
  /** Registers of the common model, from its id on; as many as the device gave. */
  readonly common: Buffer
}

const BASES = [40_000, 50_000, 0]
const COMMON_REGISTERS = 36
const COMMON_MODEL = 1
const END_MODEL = 0xffff
const MAX_MODELS = 64

export type Asking = { readonly timeoutMs: number; readonly signal: AbortSignal }

/** Undefined when the unit has no such map. Rejects only when the signal aborts, or by a mistake of ours. */
export async function findSunSpec(
  session: Pick<ModbusSession, 'request'>,
  unit: number,
  asking: Asking,
): Promise<SunSpecMap | undefined> {
  const read = async (address: number, count: number): Promise<Buffer | undefined> => {
    try {
      const { response } = await session.request(unit, { fc: 3, address, count }, asking)
      return response.fc === 3 ? Buffer.from(response.registers) : undefined
    } catch (thrown) {
      asking.signal.throwIfAborted()
      if (toSluiceError(thrown).code === 'SLUICE_INTERNAL') throw thrown
      return undefined
    }
  }
  for (const base of BASES) {
    const head = await read(base, COMMON_REGISTERS)
    if (head?.toString('latin1', 0, 4) !== 'SunS' || head.readUInt16BE(4) !== COMMON_MODEL) continue
    return { base, models: await readChain(base + 2, read), common: head.subarray(4) }
  }
  return undefined
}

async function readChain(
  start: number,
  read: (address: number, count: number) => Promise<Buffer | undefined>,
): Promise<SunSpecMap['models']> {
  const models: SunSpecMap['models'][number][] = []
  let at = start
  while (models.length < MAX_MODELS && at + 1 <= 0xffff) {
    const header = await read(at, 2)
    if (header === undefined || header.length < 4) break
    const id = header.readUInt16BE(0)
    const length = header.readUInt16BE(2)
    if (id === END_MODEL || id === 0) break
    models.push({ id, length, at })
    at += 2 + length
  }
  return models
}

/** Where the catalogue's models expect the base. */
const CATALOGUE_BASE = 40_000

/** What has to stand in the device's address so that the catalogue's models find its registers. */
export const shiftOf = ({ base }: SunSpecMap): number => base - CATALOGUE_BASE

/** The catalogue's models by the SunSpec model that they read right after the common one. */
const KINDS: readonly { readonly ids: readonly number[]; readonly model: string }[] = [
  { ids: [101, 102, 103], model: 'sunspec-inverter' },
  { ids: [111, 112, 113], model: 'sunspec-inverter-float' },
  { ids: [201, 202, 203, 204], model: 'sunspec-meter' },
  { ids: [211, 212, 213, 214], model: 'sunspec-meter-float' },
]

/** The catalogue's model for this map; the common model is 65 or 66 registers long, which moves all that follows. */
export function catalogueModelOf({ models }: SunSpecMap): { readonly model: string; readonly why: string } | undefined {
  const [common, next] = models
  const kind = KINDS.find(({ ids }) => next !== undefined && ids.includes(next.id))
  if (common === undefined || next === undefined || kind === undefined) return undefined
  if (common.length !== 65 && common.length !== 66) return undefined
  const model = common.length === 65 ? kind.model : `${kind.model}-66`
  return { model, why: `it has SunSpec model ${next.id} at address ${next.at}` }
}
