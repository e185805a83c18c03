import { isObject } from '../objects.ts'

/** JSON merge patch (RFC 7396). Shares every part that the patch does not touch. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const base = isObject(target) ? target : {}
  let result = base
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) {
      if (Object.hasOwn(result, key)) {
        const { [key]: _removed, ...rest } = result
        result = rest
      }
      continue
    }
    const before = Object.hasOwn(base, key) ? base[key] : undefined
    const next = mergePatch(before, value)
    if (next !== before) result = { ...result, [key]: next }
  }
  return isObject(target) ? result : { ...result }
}
