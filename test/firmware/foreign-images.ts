import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const PYTHON = '/usr/bin/python3'
const SCRIPT = fileURLToPath(new URL('./foreign_images.py', import.meta.url))

/** Whether Python and its cryptography are missing; in CI nothing may be. */
export function lacksForeignImages(): boolean {
  if (spawnSync(PYTHON, ['-c', 'import cryptography']).status === 0) return false
  const line = 'apt-get install python3-cryptography'
  if (process.env['CI'] === 'true') throw new Error(`nothing may be skipped here: ${line}`)
  process.stderr.write(`skipped: ${line}\n`)
  return true
}

export interface ForeignImage {
  /** Private key, PEM. */
  readonly key: string
  readonly payload: string
  readonly out: string
  readonly version: string
  readonly counter: number
  readonly slotAddress: number
  readonly board: string
  /** With the trailer of a slot of this size behind it, as for flashing (`imgtool --pad`). */
  readonly slotBytes?: number
}

/** An image that somebody else made: nothing of ours is in it but the payload. */
export function makeForeignImage(image: ForeignImage): void {
  const { key, payload, out, version, counter, slotAddress, board, slotBytes } = image
  const args = ['make', key, payload, out, version, String(counter), String(slotAddress), board]
  execFileSync(PYTHON, [SCRIPT, ...args, ...(slotBytes === undefined ? [] : [String(slotBytes)])], { stdio: 'pipe' })
}

/** Throws when somebody else finds anything wrong with an image of ours. */
export function checkForeign(key: string, image: string): void {
  execFileSync(PYTHON, [SCRIPT, 'check', key, image], { stdio: 'pipe' })
}
