import { createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FirmwareBuild } from '../../../firmware/tools/build.ts'
import { Rp2040Chip } from '../rp2040-chip.ts'
import { answerIn, type FlashChange, frameOf, PATIENCE_MS, type SweepBoard } from './board.ts'

const FLASH_BASE = 0x1000_0000
const BYTE_US = 87
const SLICE_US = 500

/** `verifyAt`: where the bootloader has sl_ed25519_verify. */
export function rp2040Board(boot: FirmwareBuild, verifyAt: number): SweepBoard {
  return new Rp2040Board(boot, verifyAt)
}

class Rp2040Board implements SweepBoard {
  readonly #chip = new Rp2040Chip()
  /** Where slots begin: the bootloader before it never changes. */
  readonly #from: number
  readonly #verifyAt: number
  #said: number[] = []
  #changes: FlashChange[] | undefined

  constructor(boot: FirmwareBuild, verifyAt: number) {
    this.#from = (boot.board.layout.slotA?.address ?? 0) - FLASH_BASE
    this.#verifyAt = verifyAt & ~1
    this.#chip.flash.set(readFileSync(boot.bin), boot.address - FLASH_BASE)
    this.#chip.onByte = (line, byte) => {
      if (line === 0) this.#said.push(byte)
    }
    this.#chip.onFlash = ({ kind, offset, size, bytes }) =>
      void this.#changes?.push({ kind, offset: offset - this.#from, size, bytes: Uint8Array.from(bytes) })
    // The curve takes two thirds of a boot in this emulator. What the ARM code thinks of signatures is tested elsewhere,
    // against Node's; here Node stands in for it.
    this.#chip.replace(this.#verifyAt, (read, [signature = 0, key = 0, message = 0, length = 0]) => {
      const raw = createPublicKey({
        key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(read(key, 32)).toString('base64url') },
        format: 'jwk',
      })
      return verify(null, read(message, length), raw, read(signature, 64)) ? 1 : 0
    })
  }

  async flash(): Promise<Uint8Array> {
    return this.#chip.flash.slice(this.#from)
  }

  async powerOn(flash: Uint8Array): Promise<void> {
    this.#chip.flash.set(flash, this.#from)
    this.#said = []
    this.#chip.start(true)
  }

  async request(pdu: Uint8Array, limitMs: number): Promise<Uint8Array | undefined> {
    this.#chip.run(2000) // t3.5
    this.#said = []
    for (const byte of frameOf(pdu)) {
      this.#chip.feed(0, byte)
      this.#chip.run(BYTE_US)
    }
    const end = this.#chip.nowUs + limitMs * 1000
    for (;;) {
      const answer = answerIn(Uint8Array.from(this.#said), pdu)
      if (answer !== undefined || this.#chip.nowUs >= end) return answer
      this.#chip.run(SLICE_US)
    }
  }

  async restarted(run: () => Promise<void>): Promise<void> {
    const { resets, nowUs } = this.#chip
    await run()
    while (this.#chip.resets === resets) {
      if (this.#chip.nowUs - nowUs > PATIENCE_MS * 1000) throw new Error('the board does not restart')
      this.#chip.run(SLICE_US)
    }
  }

  async record(run: () => Promise<void>): Promise<readonly FlashChange[]> {
    const changes: FlashChange[] = []
    this.#changes = changes
    try {
      await run()
    } finally {
      this.#changes = undefined
    }
    return changes
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
