/**
 * The device's side of AN3155: the ROM loader of an STM32 (an F103, product id 0x410, unless told otherwise) with its flash
 * and RAM, as bytes in and bytes out. For tests of clients, ours and others'.
 */

const FLASH_BASE = 0x0800_0000
const ACK = 0x79
const NACK = 0x1f
const COMMANDS = [0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x43, 0x63, 0x73, 0x82, 0x92]

export interface Stm32ModelOptions {
  /** 64 KiB by default. */
  readonly flashBytes?: number
  /** With extended erase (0x44) instead of erase (0x43), as later parts have it. */
  readonly extendedErase?: boolean
  /** Default 0x410. */
  readonly productId?: number
  /** Bytes of each sector from the start of the flash, the last for all that follow. Default pages of 1 KiB. */
  readonly sectors?: readonly number[]
}

export class Stm32LoaderModel {
  readonly flash: Uint8Array
  /** Where a client told it to go. */
  started: number | undefined
  /** Answers NACK to writes. */
  protected = false
  readonly #say: (bytes: Uint8Array) => void
  readonly #commands: readonly number[]
  readonly #erase: number
  readonly #productId: number
  readonly #sectors: readonly number[]
  #synced = false
  #want = 1
  #held: number[] = []
  #next: (bytes: readonly number[]) => void

  constructor(say: (bytes: Uint8Array) => void, options: Stm32ModelOptions = {}) {
    this.flash = new Uint8Array(options.flashBytes ?? 64 * 1024).fill(0xff)
    this.#say = say
    this.#erase = options.extendedErase === true ? 0x44 : 0x43
    this.#productId = options.productId ?? 0x410
    this.#sectors = options.sectors ?? [1024]
    this.#commands = COMMANDS.map((code) => (code === 0x43 ? this.#erase : code))
    this.#next = (bytes) => this.#sync(bytes)
  }

  /** Bytes from the client. */
  feed(bytes: Uint8Array): void {
    for (const byte of bytes) {
      this.#held.push(byte)
      if (this.#held.length < this.#want) continue
      const whole = this.#held
      this.#held = []
      this.#next(whole)
    }
  }

  #expect(count: number, next: (bytes: readonly number[]) => void): void {
    this.#want = count
    this.#next = next
  }

  #idle(): void {
    this.#expect(2, (bytes) => this.#command(bytes))
  }

  #answer(...bytes: readonly number[]): void {
    this.#say(Uint8Array.from(bytes))
  }

  #refuse(): void {
    this.#answer(NACK)
    this.#idle()
  }

  #sync([byte]: readonly number[]): void {
    if (byte !== 0x7f) return
    this.#synced = true
    this.#answer(ACK)
    this.#idle()
  }

  #command([code = 0, complement = 0]: readonly number[]) {
    if (!this.#synced || (code ^ complement) !== 0xff || !this.#commands.includes(code)) return this.#refuse()
    switch (code) {
      case 0x00:
        this.#answer(ACK, this.#commands.length, 0x22, ...this.#commands, ACK)
        return this.#idle()
      case 0x01:
        this.#answer(ACK, 0x22, 0, 0, ACK)
        return this.#idle()
      case 0x02:
        this.#answer(ACK, 1, this.#productId >> 8, this.#productId & 0xff, ACK)
        return this.#idle()
      case 0x11:
        return this.#withAddress((at) => this.#read(at))
      case 0x21:
        return this.#withAddress((at) => {
          this.started = at
          this.#idle()
        })
      case 0x31:
        return this.#withAddress((at) => this.#write(at))
      case 0x43:
      case 0x44:
        this.#answer(ACK)
        return this.#erasing(code === 0x44)
      default:
        return this.#refuse()
    }
  }

  #withAddress(then: (at: number) => void): void {
    this.#answer(ACK)
    this.#expect(5, (bytes) => {
      const at = bytes.slice(0, 4).reduce((value, byte) => value * 256 + byte, 0)
      const sum = bytes.slice(0, 4).reduce((value, byte) => value ^ byte, 0)
      // Option bytes and the flash size register are read by foreign clients, too.
      const known = this.#inFlight(at) || at >= 0x1fff_f000 || (at >= 0x2000_0000 && at < 0x2000_5000)
      if (sum !== bytes[4] || !known) return this.#refuse()
      this.#answer(ACK)
      then(at)
    })
  }

  /** First and last byte but one of a sector. */
  #sector(number: number): readonly [number, number] {
    let at = 0
    for (let index = 0; ; index++) {
      const size = this.#sectors[Math.min(index, this.#sectors.length - 1)] ?? 1024
      if (index === number) return [at, at + size]
      at += size
    }
  }

  #inFlight(at: number): boolean {
    return at >= FLASH_BASE && at < FLASH_BASE + this.flash.length
  }

  #read(at: number): void {
    this.#expect(2, ([count = 0, complement = 0]) => {
      if ((count ^ complement) !== 0xff) return this.#refuse()
      const bytes = Array.from({ length: count + 1 }, (_, index) => this.flash[at + index - FLASH_BASE] ?? 0)
      this.#answer(ACK, ...bytes)
      this.#idle()
    })
  }

  #write(at: number): void {
    this.#expect(1, ([count = 0]) => {
      this.#expect(count + 2, (bytes) => {
        const data = bytes.slice(0, -1)
        const sum = data.reduce((value, byte) => value ^ byte, count)
        if (sum !== bytes.at(-1) || this.protected || data.length % 2 !== 0) return this.#refuse()
        // Programming clears bits; only erasing sets them.
        if (this.#inFlight(at)) {
          for (const [index, byte] of data.entries()) {
            const place = at + index - FLASH_BASE
            this.flash[place] = (this.flash[place] ?? 0xff) & byte
          }
        }
        this.#answer(ACK)
        this.#idle()
      })
    })
  }

  #erasing(extended: boolean): void {
    const width = extended ? 2 : 1
    const number = (bytes: readonly number[]) => bytes.slice(0, width).reduce((value, byte) => value * 256 + byte, 0)
    this.#expect(width, (head) => {
      const count = number(head)
      const all = extended ? count === 0xffff : count === 0xff
      const pagesLength = all ? 0 : (count + 1) * width
      this.#expect(pagesLength + 1, (bytes) => {
        const sum = [...head, ...bytes.slice(0, -1)].reduce((value, byte) => value ^ byte, 0)
        if (sum !== bytes.at(-1) && !(all && !extended && bytes[0] === 0)) return this.#refuse()
        if (all) this.flash.fill(0xff)
        for (let at = 0; at < pagesLength; at += width) {
          const page = number(bytes.slice(at))
          const [from, to] = this.#sector(page)
          this.flash.fill(0xff, from, to)
        }
        this.#answer(ACK)
        this.#idle()
      })
    })
  }
}
