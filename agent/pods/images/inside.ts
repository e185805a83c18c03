import { lstatSync, mkdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../../api/errors.ts'

/** As many as the kernel follows (path_resolution(7)). */
const MAX_LINKS = 40

/**
 * Where `path` is below `root`, with every link on the way followed as if `root` were `/`: what is inside an image or a
 * volume can never name a file outside of it. The last component itself is followed only with `followLast`. Components that are missing stay
 * as they are.
 */
export function inside(root: string, path: string, followLast = false): string {
  const waiting = components(path)
  const found: string[] = []
  let links = 0
  while (waiting.length > 0) {
    const next = waiting.shift()!
    if (next === '..') {
      found.pop()
      continue
    }
    const link = waiting.length === 0 && !followLast ? undefined : linkAt(join(root, ...found, next))
    if (link === undefined) {
      found.push(next)
      continue
    }
    links++
    if (links > MAX_LINKS) {
      throw new SluiceError('SLUICE_POD_PATH', `${path} goes through more than ${MAX_LINKS} links`)
    }
    if (link.startsWith('/')) found.length = 0
    waiting.unshift(...components(link))
  }
  return join(root, ...found)
}

/**
 * Makes the place where something is mounted and returns its path as seen from inside: a folder or an empty file. What
 * is there already stays.
 */
export function makeMountPoint(root: string, path: string, kind: 'folder' | 'file'): string {
  const place = inside(root, path, true)
  const parent = kind === 'folder' ? place : join(place, '..')
  if (parent.length > root.length) mkdirSync(parent, { recursive: true, mode: 0o755 })
  if (kind === 'file') {
    try {
      writeFileSync(place, '', { flag: 'wx', mode: 0o644 })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
  return place.slice(root.length) || '/'
}

const components = (path: string): string[] => path.split('/').filter((part) => part !== '' && part !== '.')

function linkAt(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined
  } catch {
    return undefined
  }
}
