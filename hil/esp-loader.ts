import { createHash } from 'node:crypto'
import { constants, inflateSync } from 'node:zlib'

/**
 * The device's side of Espressif's serial protocol (docs.espressif.com, esptool, "Serial Protocol"), as bytes in and bytes
 * out: the loader in the ROM of an ESP32, an ESP32-C3 or an ESP8266, its flash, and the stub that a client loads into RAM.
 * Processor code is not run: once a program was loaded whole and started, the model behaves as Espressif's stub does.
 */

export type EspModelChip = 'ESP32' | 'ESP32-C3' | 'ESP8266'

interface ChipFacts {
  /** What is at 0x40001000 of the ROM. */
  readonly magic: number
  /** Of GET_SECURITY_INFO; undefined where the ROM does not know that command. */
  readonly chipId?: number
  readonly spiBase: number
  readonly usr2Offset: number
  readonly w0Offset: number
  /** Of the status behind an answer of the ROM; the stub's is always 2. */
  readonly statusBytes: 2 | 4
  readonly registers: Readonly<Record<number, number>>
}

const CHIPS: Readonly<Record<EspModelChip, ChipFacts>> = {
  ESP32: {
    magic: 0x00f01d83,
    spiBase: 0x3ff42000,
    usr2Offset: 0x24,
    w0Offset: 0x80,
    statusBytes: 4,
    // Efuse words 1 and 2: the MAC; 0x3ff40014: what divides a 40 MHz crystal to 115 200 baud.
    registers: { 1073061892: 0x0a1b2c3d, 1073061896: 0x0000240a, 1072955412: 347 },
  },
  'ESP32-C3': {
    magic: 0x1b31506f,
    chipId: 5,
    spiBase: 0x60002000,
    usr2Offset: 0x20,
    w0Offset: 0x58,
    statusBytes: 4,
    registers: { 1610647620: 0x0a1b2c3d, 1610647624: 0x0000240a },
  },
  ESP8266: {
    magic: 0xfff0c101,
    spiBase: 0x60000200,
    usr2Offset: 0x24,
    w0Offset: 0x40,
    statusBytes: 2,
    registers: {},
  },
}

export interface EspModelOptions {
  readonly chip?: EspModelChip
  /** A power of two; default 4 MiB. */
  readonly flashBytes?: number
  /** The loader waits from the start, as with the button held; default true. Else the lines have to bring it there. */
  readonly waiting?: boolean
}

const END = 0xc0
const ESCAPE = 0xdb
const MAGIC_ADDRESS = 0x40001000
const SPI_USR = 1 << 18
const READ_ID = 0x9f
const FAILED = 0x06
const UNKNOWN = 0x05
const PACKET_MAX = 0x8000
/** Bytes that a command has at least. */
const NEEDS: Readonly<Record<number, number>> = {
  [0x02]: 16,
  [0x03]: 16,
  [0x05]: 8,
  [0x06]: 4,
  [0x07]: 16,
  [0x09]: 8,
  [0x0a]: 4,
  [0x0f]: 4,
  [0x10]: 16,
  [0x11]: 16,
  [0x13]: 8,
  [0xd2]: 8,
}

interface Transfer {
  readonly address: number
  readonly blocks: number
  readonly packed: boolean
  next: number
  /** Packed bytes so far. */
  readonly parts: Uint8Array[]
  written: number
}

export class EspLoaderModel {
  readonly flash: Uint8Array
  /** What listens to the line. `application`: nobody that knows this protocol. */
  runs: 'application' | 'rom' | 'stub'
  /** How often it was started into what is in its flash. */
  starts = 0
  /** Baud rate it was told to use; undefined: never. */
  baud: number | undefined
  /** A bit of the flash that does not take what is written. */
  wornByte: number | undefined
  /** Blocks of flash after which it says nothing any more, as a cable that was pulled. */
  mutedAfterWrites = Number.POSITIVE_INFINITY
  readonly #facts: ChipFacts
  readonly #say: (bytes: Uint8Array) => void
  readonly #registers: Map<number, number>
  #packet: number[] | undefined
  #escaped = false
  #program = { announced: 0, taken: 0 }
  #transfer: Transfer | undefined
  #blocks = 0
  #lines = { dtr: false, rts: false }

  constructor(say: (bytes: Uint8Array) => void, options: EspModelOptions = {}) {
    this.#facts = CHIPS[options.chip ?? 'ESP32']
    this.flash = new Uint8Array(options.flashBytes ?? 4 * 1024 * 1024).fill(0xff)
    this.#say = say
    this.#registers = new Map(Object.entries(this.#facts.registers).map(([at, value]) => [Number(at), value]))
    this.runs = options.waiting === false ? 'application' : 'rom'
  }

  /** The two lines that boards wire to reset and to the boot pin; DTR holds the boot pin, RTS the reset. */
  setLines(lines: { readonly dtr: boolean; readonly rts: boolean }): void {
    const released = this.#lines.rts && !lines.rts
    this.#lines = { ...lines }
    if (!released) return
    this.#transfer = undefined
    this.runs = lines.dtr ? 'rom' : 'application'
    if (this.runs === 'application') this.starts++
    // The ROM says a few words at every start, at a baud rate of its own.
    this.#say(Buffer.from('ets Jun  8 2016 00:22:57\r\nrst:0x1 (POWERON_RESET)\r\n', 'latin1'))
  }

  /** Bytes from the client. */
  feed(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte === END) {
        // One END may close a packet and open the next: what is empty in between is none.
        const packet = this.#packet
        this.#packet = []
        this.#escaped = false
        if (packet !== undefined && packet.length > 0) this.#take(Buffer.from(packet))
      } else if (this.#packet !== undefined && this.#packet.length < PACKET_MAX) {
        if (byte === ESCAPE) this.#escaped = true
        else {
          this.#packet.push(this.#escaped ? (byte === 0xdc ? END : ESCAPE) : byte)
          this.#escaped = false
        }
      }
    }
  }

  #take(packet: Buffer): void {
    if (this.runs === 'application' || packet.length < 8 || packet[0] !== 0) return
    if (this.#blocks >= this.mutedAfterWrites) return
    const operation = packet.readUInt8(1)
    const size = packet.readUInt16LE(2)
    const checksum = packet.readUInt32LE(4)
    const data = packet.subarray(8)
    const whole = data.length === size && size >= (NEEDS[operation] ?? 0)
    const command = whole ? this.#commands[operation] : undefined
    const known = command !== undefined && (this.runs === 'stub' || operation < 0xd0)
    if (known) command(data, checksum)
    else this.#answer(operation, { failure: UNKNOWN })
  }

  readonly #commands: Readonly<Record<number, (data: Buffer, checksum: number) => void>> = {
    [0x08]: () => {
      // The ROM answers eight times, the stub says 0 for the value.
      const count = this.runs === 'rom' ? 8 : 1
      for (let i = 0; i < count; i++) this.#answer(0x08, { value: this.runs === 'rom' ? 0x20120707 : 0 })
    },
    [0x0a]: (data) => this.#answer(0x0a, { value: this.#register(data.readUInt32LE(0)) }),
    [0x09]: (data) => {
      this.#setRegister(data.readUInt32LE(0), data.readUInt32LE(4))
      this.#answer(0x09)
    },
    [0x0b]: () => this.#answer(0x0b),
    [0x0d]: () => this.#answer(0x0d),
    [0x0f]: (data) => {
      this.baud = data.readUInt32LE(0)
      this.#answer(0x0f)
    },
    [0x14]: () => {
      const { chipId } = this.#facts
      if (chipId === undefined) {
        this.#answer(0x14, { failure: UNKNOWN })
        return
      }
      const info = Buffer.alloc(20)
      info.writeUInt32LE(chipId, 12)
      this.#answer(0x14, { data: info })
    },
    [0x05]: (data) => {
      this.#program = { announced: this.#program.announced + data.readUInt32LE(4), taken: this.#program.taken }
      this.#answer(0x05)
    },
    [0x07]: (data, checksum) => {
      if (!sound(data, checksum)) {
        this.#answer(0x07, { failure: 0x07 })
        return
      }
      this.#program.taken++
      this.#answer(0x07)
    },
    [0x06]: (data) => {
      const { announced, taken } = this.#program
      this.#program = { announced: 0, taken: 0 }
      if (announced !== taken) {
        this.#answer(0x06, { failure: FAILED })
        return
      }
      this.#answer(0x06)
      if (data.readUInt32LE(0) !== 0) return
      this.runs = 'stub'
      this.#frame(Buffer.from('OHAI', 'latin1'))
    },
    [0x02]: (data) => this.#begin(0x02, data, false),
    [0x10]: (data) => this.#begin(0x10, data, true),
    [0x03]: (data, checksum) => this.#block(0x03, data, checksum),
    [0x11]: (data, checksum) => this.#block(0x11, data, checksum),
    [0x04]: () => this.#end(0x04),
    [0x12]: () => this.#end(0x12),
    [0x13]: (data) => {
      const at = data.readUInt32LE(0)
      const digest = createHash('md5').update(this.flash.subarray(at, at + data.readUInt32LE(4)))
      this.#answer(0x13, { data: this.runs === 'stub' ? digest.digest() : Buffer.from(digest.digest('hex'), 'latin1') })
    },
    [0xd2]: (data) => {
      const at = data.readUInt32LE(0)
      const content = this.flash.subarray(at, at + data.readUInt32LE(4))
      this.#answer(0xd2)
      this.#frame(Buffer.from(content))
      this.#frame(createHash('md5').update(content).digest())
    },
  }

  #begin(operation: number, data: Buffer, packed: boolean): void {
    const [erase, blocks, , address] = [0, 4, 8, 12].map((at) => data.readUInt32LE(at))
    const end = (address ?? 0) + (erase ?? 0)
    if (end > this.flash.length) {
      this.#answer(operation, { failure: FAILED })
      return
    }
    this.flash.fill(0xff, (address ?? 0) & ~0xfff, Math.ceil(end / 0x1000) * 0x1000)
    this.#transfer = { address: address ?? 0, blocks: blocks ?? 0, packed, next: 0, parts: [], written: 0 }
    this.#answer(operation)
  }

  #block(operation: number, data: Buffer, checksum: number): void {
    const transfer = this.#transfer
    const wanted = transfer !== undefined && transfer.packed === (operation === 0x11)
    if (!wanted || data.readUInt32LE(4) !== transfer.next || transfer.next >= transfer.blocks) {
      this.#answer(operation, { failure: FAILED })
      return
    }
    if (!sound(data, checksum)) {
      this.#answer(operation, { failure: 0x07 })
      return
    }
    transfer.next++
    this.#blocks++
    const content = data.subarray(16)
    if (transfer.packed) {
      transfer.parts.push(Uint8Array.from(content))
      const all = inflated(Buffer.concat(transfer.parts))
      if (all === undefined) {
        this.#answer(operation, { failure: FAILED })
        return
      }
      this.#write(transfer, all.subarray(transfer.written))
    } else this.#write(transfer, content)
    this.#answer(operation)
  }

  /** Programming clears bits; only erasing sets them. */
  #write(transfer: Transfer, bytes: Uint8Array): void {
    for (const byte of bytes) {
      const at = transfer.address + transfer.written++
      if (at < this.flash.length)
        this.flash[at] = (this.flash[at] ?? 0xff) & (at === this.wornByte ? byte & 0xfe : byte)
    }
  }

  #end(operation: number): void {
    this.#transfer = undefined
    this.#answer(operation)
  }

  #register(address: number): number {
    if (address === MAGIC_ADDRESS) return this.#facts.magic
    return this.#registers.get(address) ?? 0
  }

  #setRegister(address: number, value: number): void {
    const { spiBase, usr2Offset, w0Offset } = this.#facts
    this.#registers.set(address, value)
    if (address !== spiBase || (value & SPI_USR) === 0) return
    const command = (this.#registers.get(spiBase + usr2Offset) ?? 0) & 0xff
    // Maker GigaDevice, kind 0x40, and two to the power of the last byte many bytes.
    const size = Math.log2(this.flash.length)
    if (command === READ_ID) this.#registers.set(spiBase + w0Offset, (size << 16) | 0x40c8)
    this.#registers.set(spiBase, 0)
  }

  #answer(
    operation: number,
    { value = 0, data = Buffer.alloc(0), failure }: { value?: number; data?: Buffer; failure?: number } = {},
  ): void {
    const status = Buffer.alloc(this.runs === 'stub' ? 2 : this.#facts.statusBytes)
    if (failure !== undefined) status.set([1, failure])
    const head = Buffer.alloc(8)
    head.writeUInt8(1, 0)
    head.writeUInt8(operation, 1)
    head.writeUInt16LE(data.length + status.length, 2)
    head.writeUInt32LE(value >>> 0, 4)
    this.#frame(Buffer.concat([head, data, status]))
  }

  #frame(content: Buffer): void {
    const out = [END]
    for (const byte of content) {
      if (byte === END) out.push(ESCAPE, 0xdc)
      else if (byte === ESCAPE) out.push(ESCAPE, 0xdd)
      else out.push(byte)
    }
    out.push(END)
    this.#say(Uint8Array.from(out))
  }
}

/** The length and the sum (0xEF, every byte exclusive-or) of a block fit. */
function sound(data: Buffer, checksum: number): boolean {
  const content = data.subarray(16)
  return data.readUInt32LE(0) === content.length && content.reduce((sum, byte) => sum ^ byte, 0xef) === checksum
}

/** What a stream that may go on holds so far; undefined when it is none. */
function inflated(packed: Uint8Array): Buffer | undefined {
  try {
    return inflateSync(packed, { finishFlush: constants.Z_SYNC_FLUSH })
  } catch {
    return undefined
  }
}
