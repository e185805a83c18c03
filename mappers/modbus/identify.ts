import { toSluiceError } from '../../api/errors.ts'
import type { ModbusSession } from './session.ts'

/** What a device says of itself, by the word for it: vendor, product, revision, ... */
export type Identity = Readonly<Record<string, string>>

/** Objects of function 43/14 (application protocol, section 6.21, table "Object Id"). */
const OBJECTS: Readonly<Record<number, string>> = {
  0: 'vendor',
  1: 'product',
  2: 'revision',
  3: 'url',
  4: 'productName',
  5: 'model',
  6: 'application',
}
const MAX_PARTS = 8
const MAX_TEXT = 120
/** SunSpec device information model: 'SunS', then model 1 with manufacturer and product, 16 registers each. */
const SUNSPEC_BASE = 40_000
const SUNSPEC_REGISTERS = 36

/**
 * Asks a unit who it is: device identification 43/14, else the common model of SunSpec. Empty when it knows neither.
 * Rejects only when the signal aborts.
 */
export async function identify(
  session: ModbusSession,
  unit: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Identity> {
  const identity: Record<string, string> = {}
  try {
    const regular = await readObjects(session, unit, 1, { timeoutMs, signal }, identity)
    if (regular) await readObjects(session, unit, 2, { timeoutMs, signal }, identity)
    if (Object.keys(identity).length === 0) await readSunSpec(session, unit, { timeoutMs, signal }, identity)
  } catch (thrown) {
    signal.throwIfAborted()
    // Most devices know neither; whatever else is wrong, the unit itself was found.
    if (toSluiceError(thrown).code === 'SLUICE_INTERNAL') throw thrown
  }
  return identity
}

type Asking = { readonly timeoutMs: number; readonly signal: AbortSignal }

/** Whether the unit also has the regular objects (conformity level 2 or 3). */
async function readObjects(
  session: ModbusSession,
  unit: number,
  category: 1 | 2,
  asking: Asking,
  identity: Record<string, string>,
): Promise<boolean> {
  let objectId = category === 1 ? 0 : 3
  let regular = false
  for (let part = 0; part < MAX_PARTS; part++) {
    const reply = await session
      .request(unit, { fc: 43, category, objectId }, asking)
      .catch((thrown: unknown) => ignoreRefusal(thrown, asking.signal))
    if (reply === undefined || reply.response.fc !== 43) return regular
    const { objects, moreFollows, nextObjectId, conformity } = reply.response
    for (const { id, value } of objects) {
      const text = readable(value)
      if (OBJECTS[id] !== undefined && text !== '') identity[OBJECTS[id]] = text
    }
    regular = (conformity & 0x7f) >= 2
    if (!moreFollows || nextObjectId <= objectId) return regular
    objectId = nextObjectId
  }
  return regular
}

async function readSunSpec(
  session: ModbusSession,
  unit: number,
  asking: Asking,
  identity: Record<string, string>,
): Promise<void> {
  const request = { fc: 3, address: SUNSPEC_BASE, count: SUNSPEC_REGISTERS } as const
  const reply = await session
    .request(unit, request, asking)
    .catch((thrown: unknown) => ignoreRefusal(thrown, asking.signal))
  if (reply?.response.fc !== 3) return
  const bytes = Buffer.from(reply.response.registers)
  if (bytes.toString('latin1', 0, 4) !== 'SunS' || bytes.readUInt16BE(4) !== 1) return
  identity['format'] = 'SunSpec'
  const vendor = readable(bytes.subarray(8, 40))
  const model = readable(bytes.subarray(40, 72))
  if (vendor !== '') identity['vendor'] = vendor
  if (model !== '') identity['model'] = model
}

function ignoreRefusal(thrown: unknown, signal: AbortSignal): undefined {
  signal.throwIfAborted()
  if (toSluiceError(thrown).code === 'SLUICE_INTERNAL') throw thrown
  return undefined
}

/** Text as devices fill it up: to the first zero, without what cannot be shown. */
function readable(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8')
  const end = text.indexOf('\0')
  return text
    .slice(0, end < 0 ? undefined : end)
    .replace(/[\p{Cc}\ufffd]/gu, '')
    .trim()
    .slice(0, MAX_TEXT)
}
