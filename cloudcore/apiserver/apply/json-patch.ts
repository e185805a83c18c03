import { badRequest, unprocessable } from '../http/status.ts'
import { deepEqual, isObject } from '../objects.ts'

/** An upper bound for operations in one patch, as in the real server. */
const MAX_OPERATIONS = 10_000

interface Operation {
  readonly op: string
  readonly path: readonly string[]
  readonly from: readonly string[]
  readonly value: unknown
}

/** JSON patch (RFC 6902) as a pure function. Throws 400 for a malformed patch, 422 for one that does not apply. */
export function jsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('error decoding patch: a JSON patch is a list of operations')
  if (patch.length > MAX_OPERATIONS) throw badRequest(`a JSON patch may have at most ${MAX_OPERATIONS} operations`)
  return patch.map(readOperation).reduce(applyOperation, target)
}

function readOperation(raw: unknown): Operation {
  if (!isObject(raw) || typeof raw['op'] !== 'string')
    throw badRequest('error decoding patch: an operation needs op and path')
  return {
    op: raw['op'],
    path: pointer(raw['path']),
    from: raw['from'] === undefined ? [] : pointer(raw['from']),
    value: raw['value'],
  }
}

function pointer(text: unknown): readonly string[] {
  if (typeof text !== 'string' || (text !== '' && !text.startsWith('/')))
    throw badRequest(`error decoding patch: bad path ${JSON.stringify(text)}`)
  const parts = text
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  if (parts.includes('__proto__')) throw unprocessable()
  return parts
}

function applyOperation(target: unknown, { op, path, from, value }: Operation): unknown {
  switch (op) {
    case 'add':
      return set(target, path, value, 'add')
    case 'replace':
      read(target, path)
      return set(target, path, value, 'replace')
    case 'remove':
      return remove(target, path)
    case 'test':
      if (!deepEqual(path.length === 0 ? target : readOrNull(target, path), value ?? null)) throw unprocessable()
      return target
    case 'copy':
      return set(target, path, read(target, from), 'add')
    case 'move':
      return set(remove(target, from), path, read(target, from), 'add')
    default:
      throw badRequest(`error decoding patch: unknown operation ${JSON.stringify(op)}`)
  }
}

function read(target: unknown, path: readonly string[]): unknown {
  return path.reduce((value, key) => {
    if (Array.isArray(value)) return value[position(key, value.length - 1)]
    if (isObject(value) && Object.hasOwn(value, key)) return value[key]
    throw unprocessable()
  }, target)
}

/** A test may look at what is not there, and then sees null. */
function readOrNull(target: unknown, path: readonly string[]): unknown {
  try {
    return read(target, path)
  } catch {
    return null
  }
}

function set(target: unknown, [key, ...rest]: readonly string[], value: unknown, mode: 'add' | 'replace'): unknown {
  if (key === undefined) return value
  if (Array.isArray(target)) {
    if (rest.length > 0) {
      const index = position(key, target.length - 1)
      return target.with(index, set(target[index], rest, value, mode))
    }
    if (mode === 'replace') return target.with(position(key, target.length - 1), value)
    return target.toSpliced(key === '-' ? target.length : position(key, target.length), 0, value)
  }
  if (!isObject(target) || (rest.length > 0 && !Object.hasOwn(target, key))) throw unprocessable()
  return { ...target, [key]: rest.length > 0 ? set(target[key], rest, value, mode) : value }
}

function remove(target: unknown, [key, ...rest]: readonly string[]): unknown {
  if (key === undefined) return undefined
  if (Array.isArray(target)) {
    const index = position(key, target.length - 1)
    return rest.length === 0 ? target.toSpliced(index, 1) : target.with(index, remove(target[index], rest))
  }
  if (!isObject(target) || !Object.hasOwn(target, key)) throw unprocessable()
  if (rest.length > 0) return { ...target, [key]: remove(target[key], rest) }
  const { [key]: _removed, ...others } = target
  return others
}

function position(key: string, max: number): number {
  const index = /^(0|[1-9]\d{0,8})$/.test(key) ? Number(key) : -1
  if (index < 0 || index > max) throw unprocessable()
  return index
}
