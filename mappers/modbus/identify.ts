import { toSluiceError } from '../../api/errors.ts'
import type { ModbusSession } from './session.ts'
import { type Asking, findSunSpec, type SunSpecMap } from './sunspec.ts'

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

export interface Identified {
  /** Empty when the unit knows neither device identification nor SunSpec. */
  readonly identity: Identity
  readonly sunspec: SunSpecMap | undefined
}

/** Asks a unit who it is: device identification 43/14, and SunSpec. Rejects only when the signal aborts. */
export async function identify(
  session: ModbusSession,
  unit: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Identified> {
  const identity: Record<string, string> = {}
  let sunspec: SunSpecMap | undefined
  try {
    const regular = await readObjects(session, unit, 1, { timeoutMs, signal }, identity)
    if (regular) await readObjects(session, unit, 2, { timeoutMs, signal }, identity)
    sunspec = await findSunSpec(session, unit, { timeoutMs, signal })
    if (sunspec !== undefined) describe(sunspec, identity)
  } catch (thrown) {
    signal.throwIfAborted()
    // Most devices know neither; whatever else is wrong, the unit itself was found.
    if (toSluiceError(thrown).code === 'SLUICE_INTERNAL') throw thrown
  }
  return { identity, sunspec }
}

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

function describe({ base, models, common }: SunSpecMap, identity: Record<string, string>): void {
  identity['format'] = 'SunSpec'
  identity['sunspecBase'] = `${base}`
  identity['sunspecModels'] = models
    .map(({ id, at }) => `${id} at ${at}`)
    .join(', ')
    .slice(0, MAX_TEXT)
  // Manufacturer and product, 16 registers each, after id and length.
  const vendor = readable(common.subarray(4, 36))
  const model = readable(common.subarray(36, 68))
  if (vendor !== '') identity['vendor'] ??= vendor
  if (model !== '') identity['model'] ??= model
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
