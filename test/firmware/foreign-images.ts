import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const PYTHON = '/usr/bin/python3'
const SCRIPT = fileURLToPath(new URL('./foreign_images.py', import.meta.url))

/** Debian has no imgtool. Where one is on the PATH it is the far side of these tests, elsewhere the script beside this. */
const IMGTOOL = spawnSync('imgtool', ['version']).status === 0

/** Whether Python and its cryptography are missing; in CI nothing may be. */
export function lacksForeignImages(): boolean {
  if (IMGTOOL || spawnSync(PYTHON, ['-c', 'import cryptography']).status === 0) return false
  const line = 'apt-get install python3-cryptography'
  if (process.env['CI'] === 'true') throw new Error(`nothing may be skipped here: ${line}`)
  process.stderr.write(`skipped: ${line}\n`)
  return true
}

const script = (...args: readonly string[]): Buffer => execFileSync(PYTHON, [SCRIPT, ...args], { stdio: 'pipe' })
const imgtool = (...args: readonly string[]): Buffer => execFileSync('imgtool', args, { stdio: 'pipe' })

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

/** A private Ed25519 key of somebody else, PEM. */
export function makeForeignKey(path: string): void {
  if (IMGTOOL) imgtool('keygen', '--type', 'ed25519', '--key', path)
  else script('key', path)
}

/** An image that somebody else made: nothing of ours is in it but the payload. */
export function makeForeignImage(image: ForeignImage): void {
  const { key, payload, out, version, counter, slotAddress, board, slotBytes } = image
  if (!IMGTOOL) {
    const args = ['make', key, payload, out, version, String(counter), String(slotAddress), board]
    script(...args, ...(slotBytes === undefined ? [] : [String(slotBytes)]))
    return
  }
  imgtool(
    ...['sign', '--key', key, '--version', version, '--security-counter', String(counter)],
    ...['--header-size', '0x200', '--pad-header', '--slot-size', String(slotBytes ?? 1024 * 1024), '--align', '4'],
    ...['--rom-fixed', String(slotAddress), '--custom-tlv', '0xa1', board],
    ...(slotBytes === undefined ? [] : ['--pad']),
    ...[payload, out],
  )
}

/** Throws when somebody else finds anything wrong with an image of ours. */
export function checkForeign(key: string, image: string): void {
  if (IMGTOOL) imgtool('verify', '--key', key, image)
  else script('check', key, image)
}

interface Dump {
  readonly header: { readonly version: string; readonly hdr_size: number; readonly img_size: number }
  readonly tlv_area: { readonly tlvs_prot: readonly { readonly type: number; readonly data: Uint8Array | string }[] }
}

/** What somebody else reads in an image: its version, and the protected TLVs by their type. `scratch` is a file to write. */
export function dumpForeign(image: string, scratch: string): { version: string; protectedTlvs: Map<number, Buffer> } {
  if (IMGTOOL) imgtool('dumpinfo', '--silent', '--outfile', scratch, image)
  else script('dump', image, scratch)
  const { header, tlv_area }: Dump = parse(readFileSync(scratch, 'utf8'))
  const bytes = (data: Uint8Array | string) => (typeof data === 'string' ? Buffer.from(data, 'hex') : Buffer.from(data))
  return {
    version: header.version,
    protectedTlvs: new Map(tlv_area.tlvs_prot.map(({ type, data }) => [type, bytes(data)])),
  }
}
