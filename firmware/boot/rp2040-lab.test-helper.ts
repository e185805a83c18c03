import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Rp2040Chip } from '../../hil/boards/rp2040-chip.ts'
import { buildBootloader } from '../tools/bootloader.ts'
import { buildFirmware } from '../tools/build.ts'
import { makeImage, parseVersion } from '../tools/image.ts'
import { publicKeyOf } from '../tools/keys.ts'
import { MANAGED_MODULES } from '../tools/managed.ts'
import { signerOf } from '../tools/sign.ts'
import { SmpClient } from '../tools/smp/client.ts'
import { streamTransport } from '../tools/smp/transport.ts'
import { type TunnelPdu, tunnelTransport } from '../tools/smp/tunnel.ts'

const FLASH_BASE = 0x10000000
export const SLOTS = [0x10008000, 0x100f8000] as const
const managed = fileURLToPath(new URL('../testing/managed.c', import.meta.url))
const cacheDir = join(tmpdir(), `sluice-firmware-objects-${process.getuid?.() ?? 0}`)

function crc16(bytes: Uint8Array): number {
  let crc = 0xffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >> 1) ^ 0xa001 : crc >> 1
  }
  return crc
}

/** The ARM code of bootloader and applications in an RP2040. Time is the chip's. */
export class Rp2040Lab {
  readonly key = generateKeyPairSync('ed25519').privateKey
  readonly chip = new Rp2040Chip()
  readonly #said: number[] = []
  #listener: (chunk: Uint8Array) => void = () => {}
  /** Bytes the chip has said: its line has no pace, a wire would take 87 us for each. */
  saidBytes = 0

  constructor() {
    this.chip.onByte = (line, byte) => {
      if (line !== 0) return
      this.#said.push(byte)
      this.saidBytes++
    }
  }

  async bootloader(outDir: string): Promise<void> {
    const keys = [publicKeyOf(this.key)]
    const build = await buildBootloader({ board: 'rp2040', keys, production: true, outDir, cacheDir, watchdogMs: 1000 })
    this.chip.flash.set(readFileSync(build.bin), 0)
  }

  /** An image of the managed application, built for a slot. */
  async image(
    outDir: string,
    slot: 0 | 1,
    minor: number,
    counter: number,
    defines: Readonly<Record<string, number>> = {},
  ): Promise<Uint8Array> {
    const build = await buildFirmware({
      board: 'rp2040',
      image: slot === 0 ? 'slotA' : 'slotB',
      sources: [managed],
      modules: MANAGED_MODULES,
      defines: { SL_VERSION_MINOR: minor, ...defines },
      outDir: join(outDir, `${slot}.${minor}`),
      cacheDir,
    })
    const options = { version: parseVersion(`1.${minor}.0`), securityCounter: counter, board: 'rp2040' }
    const payload = readFileSync(build.bin)
    return makeImage({ ...options, payload, slotAddress: SLOTS[slot] }, signerOf(this.key, { production: true }))
  }

  put(slot: 0 | 1, image: Uint8Array): void {
    this.chip.flash.set(image, SLOTS[slot] - FLASH_BASE)
  }

  /** Everything behind the bootloader, to come back to. */
  snapshot(): Uint8Array {
    return this.chip.flash.slice(0x8000)
  }

  restore(snapshot: Uint8Array): void {
    this.chip.flash.set(snapshot, 0x8000)
  }

  powerOn(): void {
    this.#said.length = 0
    this.chip.start(true)
  }

  /** Runs until `done` or for so long of the chip's time; false when that passed. */
  runUntil(done: () => boolean, limitUs: number): boolean {
    const end = this.chip.nowUs + limitUs
    while (!done()) {
      if (this.chip.nowUs >= end) return false
      this.chip.run(500)
    }
    return true
  }

  #feed(bytes: Uint8Array): void {
    this.#said.length = 0
    for (const byte of bytes) {
      this.chip.feed(0, byte)
      this.chip.run(87) // one byte at 115 200 baud
    }
  }

  /** One Modbus RTU request to unit 1; undefined when no whole answer comes within the chip's time. */
  request(pdu: Uint8Array, limitUs = 2_000_000): Uint8Array | undefined {
    const frame = Buffer.concat([Buffer.from([1]), pdu, Buffer.alloc(2)])
    frame.writeUInt16LE(crc16(frame.subarray(0, -2)), frame.length - 2)
    this.chip.run(2000) // t3.5
    this.#feed(frame)
    const whole = () => this.#said.length >= 5 && this.#said[0] === 1 && crc16(Uint8Array.from(this.#said)) === 0
    return this.runUntil(whole, limitUs) ? Uint8Array.from(this.#said.slice(1, -2)) : undefined
  }

  /** Asks until the application answers, up to so long of the chip's time: its minor version, slot and boot state. */
  running(limitUs = 3_000_000): { minor: number; slot: number; mark: number; attempts: number } | undefined {
    const end = this.chip.nowUs + limitUs
    while (this.chip.nowUs < end) {
      const minor = this.request(Uint8Array.of(3, 0, 0, 0, 1), 20_000)
      const state = minor === undefined ? undefined : this.request(Uint8Array.of(4, 0xf0, 8, 0, 2), 20_000)
      if (minor?.[0] !== 3 || state?.[0] !== 4) continue
      const boot = state[5] ?? 0
      return { minor: minor[3] ?? 0, slot: state[3] ?? 0, mark: boot & 15, attempts: boot >> 4 }
    }
    return undefined
  }

  /** A client over Modbus function 0x41 of the running application. */
  tunnel(): SmpClient {
    const pdu: TunnelPdu = async (request) => {
      const answer = this.request(request)
      if (answer === undefined) throw new Error('no answer')
      return answer
    }
    return new SmpClient(tunnelTransport(pdu, { retries: 0 }))
  }

  /** A client of the bootloader's recovery on the console. */
  console(): SmpClient {
    return new SmpClient(
      streamTransport({
        write: (bytes) => {
          this.#feed(bytes)
          this.runUntil(() => this.#said.at(-1) === 0x0a, 2_000_000)
          const said = Uint8Array.from(this.#said)
          queueMicrotask(() => this.#listener(said))
        },
        onData: (listener) => {
          this.#listener = listener
          return () => {}
        },
      }),
    )
  }
}
