import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach } from 'vitest'
import { type ImageOptions, makeImage, parseVersion } from '../../tools/image.ts'
import { publicKeyOf } from '../../tools/keys.ts'
import { signerOf } from '../../tools/sign.ts'
import type { ByteLine } from '../../tools/smp/transport.ts'
import type { TunnelPdu } from '../../tools/smp/tunnel.ts'
import { compileForHost } from './host-build.ts'

export const SLOT_ADDRESSES = [0x8000, 0x9000] as const
const FLASH_BYTES = 16 * 1024
const SOURCES = [
  'checks/smp-device.c',
  'checks/flash-model.c',
  '../boot/choose.c',
  'cbor.c',
  'crc32.c',
  'ed25519.c',
  'image-signature.c',
  'image.c',
  'marks.c',
  'security-counter.c',
  'sha256.c',
  'sha512.c',
  'slots.c',
  'smp-console.c',
  'smp-image.c',
  'smp-tunnel.c',
  'smp.c',
  'upload.c',
]

export type DeviceImage = Partial<Omit<ImageOptions, 'version'>> & {
  readonly version?: string
  readonly key?: KeyObject
}

/** The C server as a process with its flash in a file, for tests of the client. Everything is gone after the file's tests. */
export class SmpDevices {
  readonly key = generateKeyPairSync('ed25519').privateKey
  #program = ''
  #folder = ''
  readonly #running = new Set<ChildProcessWithoutNullStreams>()

  constructor() {
    afterEach(() => this.powerCut())
    afterAll(() => rm(this.#folder, { recursive: true, force: true }))
  }

  async build(): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), 'sluice-smp-'))
    this.#program = await compileForHost(SOURCES)
  }

  /** An image for the check board: 1.0.0 in slot A with counter 1 where nothing else is said. */
  async image(options: DeviceImage = {}): Promise<Uint8Array> {
    const { version = '1.0.0', key = this.key, ...rest } = options
    const signer = signerOf(key, { production: false })
    return makeImage(
      {
        payload: Buffer.alloc(900, version),
        securityCounter: 1,
        board: 'host',
        slotAddress: SLOT_ADDRESSES[0],
        ...rest,
        version: parseVersion(version),
      },
      signer,
    )
  }

  /** A flash with these bytes at these addresses. */
  async flash(name: string, content: ReadonlyMap<number, Uint8Array>): Promise<string> {
    const bytes = Buffer.alloc(FLASH_BYTES, 0xff)
    for (const [address, part] of content) bytes.set(part, address - SLOT_ADDRESSES[0])
    const path = join(this.#folder, name)
    await writeFile(path, bytes)
    return path
  }

  /** `trusted` is the raw public key of its bootloader, where that is not the one these images are signed with. */
  start(
    mode: 'console' | 'tunnel',
    flash: string,
    recovery = false,
    trusted: Uint8Array = publicKeyOf(this.key).raw,
  ): ChildProcessWithoutNullStreams {
    const key = Buffer.from(trusted).toString('hex')
    const child = spawn(this.#program, [mode, flash, key, ...(recovery ? ['boot'] : [])])
    child.stdin.on('error', () => {})
    this.#running.add(child)
    return child
  }

  powerCut(): void {
    for (const child of this.#running) child.kill('SIGKILL')
    this.#running.clear()
  }
}

export function lineOf(child: ChildProcessWithoutNullStreams): ByteLine {
  return {
    write: (bytes) => void child.stdin.write(bytes),
    onData: (listener) => {
      child.stdout.on('data', listener)
      return () => void child.stdout.off('data', listener)
    },
  }
}

/** The unit at the end of a Modbus line, function 0x41 only. `lose` drops an answer after the board has acted on it. */
export function unitOf(child: ChildProcessWithoutNullStreams, lose: () => boolean = () => false): TunnelPdu {
  let bytes = Buffer.alloc(0)
  let waiting: ((answer: Buffer) => void) | undefined
  child.stdout.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    const size = bytes[0]
    if (size === undefined || bytes.length < size + 1) return
    const answer = bytes.subarray(1, size + 1)
    bytes = bytes.subarray(size + 1)
    waiting?.(answer)
  })
  return async (pdu) => {
    if (pdu[0] !== 0x41 || pdu[1] !== pdu.length - 2 || pdu.length > 253) throw new Error('no PDU of function 0x41')
    const answer = await new Promise<Buffer>((resolve) => {
      waiting = resolve
      child.stdin.write(pdu.subarray(1))
    })
    if (lose()) throw new Error('answer lost')
    return answer.length === 0 ? Uint8Array.of(0xc1, 4) : Buffer.concat([Buffer.from([0x41, answer.length]), answer])
  }
}
