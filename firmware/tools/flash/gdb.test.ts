import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lacks } from '../../../hil/boards/test-boards.test-helper.ts'
import { loadBoard } from '../board.ts'
import { makeImage, parseVersion } from '../image.ts'
import { signerOf } from '../sign.ts'
import type { ByteLine } from '../smp/transport.ts'
import { escapeBinary, GdbClient, parseMemoryMap, unescapeBody } from './gdb.ts'
import { gdbRunner } from './gdb-runner.ts'
import { refuseOther } from './runner.ts'

const lineOf = (socket: Socket): ByteLine => ({
  write: (bytes) => void socket.write(bytes),
  onData: (listener) => {
    socket.on('data', listener)
    return () => void socket.off('data', listener)
  },
})

const MAP = `<memory-map><memory type="ram" start="0x20000000" length="0x5000"/>
<memory type="flash" start="0x8000000" length="0x10000"><property name="blocksize">0x400</property></memory></memory-map>`

/** A GDB server with flash that has to be erased, as OpenOCD shows it. */
function flashServer() {
  const flash = new Uint8Array(0x10000)
  const asked: string[] = []
  let listener: (chunk: Uint8Array) => void = () => {}
  const answer = (body: Buffer): string => {
    const text = body.toString('latin1')
    const [name = '', ...rest] = text.split(':')
    asked.push(name.split(/[0-9]/)[0] ?? '')
    if (text.startsWith('qSupported')) return 'PacketSize=400;qXfer:memory-map:read+'
    if (text === '?') return 'S05'
    if (name === 'qXfer') return `l${MAP}`
    if (name === 'vFlashErase') {
      const [at = 0, size = 0] = (rest[0] ?? '').split(',').map((part) => Number.parseInt(part, 16))
      flash.fill(0xff, at - 0x8000000, at - 0x8000000 + size)
      return 'OK'
    }
    if (name === 'vFlashWrite') {
      const at = Number.parseInt(rest[0] ?? '', 16) - 0x8000000
      const data = unescapeBody(body.subarray(text.indexOf(':', 12) + 1))
      for (const [index, byte] of data.entries()) flash[at + index] = (flash[at + index] ?? 0) & byte
      return 'OK'
    }
    if (name === 'vFlashDone') return 'OK'
    if (text.startsWith('m')) {
      const [at = 0, size = 0] = text
        .slice(1)
        .split(',')
        .map((part) => Number.parseInt(part, 16))
      return Buffer.from(flash.subarray(at - 0x8000000, at - 0x8000000 + size)).toString('hex')
    }
    return ''
  }
  const line: ByteLine = {
    write(bytes) {
      const packet = Buffer.from(bytes)
      if (packet[0] !== 0x24) return
      const said = answer(packet.subarray(1, -3))
      const sum = [...Buffer.from(said, 'latin1')].reduce((total, byte) => (total + byte) & 0xff, 0)
      const whole = Buffer.from(`+$${said}#${sum.toString(16).padStart(2, '0')}`, 'latin1')
      queueMicrotask(() => listener(whole))
    },
    onData(heard) {
      listener = heard
      return () => {}
    },
  }
  return { flash, asked, line }
}

describe('the GDB remote protocol', () => {
  it('brings any bytes through its escapes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(Buffer.from(unescapeBody(escapeBinary(bytes))).equals(bytes)).toBe(true)
        expect([...escapeBinary(bytes)].some((byte) => byte === 0x23 || byte === 0x24)).toBe(false)
      }),
    )
    expect(Buffer.from(unescapeBody(Buffer.from('0* ', 'latin1'))).toString('latin1')).toBe('0000')
  })

  it('reads any memory map without falling over, and finds the flash of a good one', () => {
    expect(parseMemoryMap(MAP)).toEqual([{ start: 0x8000000, length: 0x10000, blockBytes: 0x400 }])
    fc.assert(fc.property(fc.string(), (text) => void parseMemoryMap(text)))
  })

  it('erases whole blocks and writes announced flash, every byte', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 5000 }), fc.nat(9000), async (bytes, offset) => {
        const { flash, line, asked } = flashServer()
        using client = new GdbClient(line)
        await client.open()
        await client.write([{ address: 0x8000000 + offset, bytes }])
        expect(Buffer.from(flash.subarray(offset, offset + bytes.length)).equals(bytes)).toBe(true)
        expect(Buffer.from(await client.read(0x8000000 + offset, bytes.length)).equals(bytes)).toBe(true)
        expect(asked).toContain('vFlashDone')
      }),
      { numRuns: 20 },
    )
  })

  it.skipIf(lacks('qemu-system-arm'))(
    'writes and reads back the memory of QEMU',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'sluice-gdb-'))
      const path = join(folder, 'gdb.sock')
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(path, resolve))
      const arrived = once(server, 'connection') as Promise<[Socket]>
      const child = spawn('qemu-system-arm', [
        ...['-M', 'mps2-an385', '-S', '-display', 'none', '-monitor', 'none', '-nodefaults', '-serial', 'none'],
        ...['-chardev', `socket,id=gdb,path=${path}`, '-gdb', 'chardev:gdb'],
      ])
      try {
        const [socket] = await arrived
        // Killed below while it still had something to say.
        socket.on('error', () => {})
        using client = new GdbClient(lineOf(socket))
        await client.open()
        const bytes = Uint8Array.from({ length: 64 * 1024 }, (_, index) => (index * 31 + (index >> 8)) & 0xff)
        const seen: number[] = []
        await client.write([{ address: 0, bytes }], { onProgress: (done) => seen.push(done) })
        expect(Buffer.from(await client.read(0, bytes.length)).equals(bytes)).toBe(true)
        expect(seen.at(-1)).toBe(bytes.length)
        // The same server as a runner: the processor says what it is, the flash what it holds.
        const { slotB } = loadBoard('mps2-an385').layout
        const signer = signerOf(generateKeyPairSync('ed25519').privateKey, { production: true })
        const address = slotB?.address ?? 0
        const held = await makeImage(
          {
            payload: bytes,
            version: parseVersion('3.1.4'),
            securityCounter: 1,
            board: 'mps2-an385',
            slotAddress: address,
          },
          signer,
        )
        await client.write([{ address, bytes: held }])
        const runner = gdbRunner({ ...lineOf(socket), async [Symbol.asyncDispose]() {} })
        const target = await runner.identify(AbortSignal.timeout(20_000))
        expect(target).toEqual({
          chip: 'cortex-m3 behind a GDB server',
          processor: 'cortex-m3',
          holds: 'mps2-an385',
          running: '3.1.4 in slot B',
        })
        expect(() => refuseOther(target, { board: 'microbit', processor: 'cortex-m0' })).toThrow(
          'this is a cortex-m3, the firmware is for microbit',
        )
        const regions = [{ address: 0, bytes: bytes.subarray(0, 1000) }]
        const options = { signal: AbortSignal.timeout(20_000), onProgress: () => {} }
        expect(await runner.flash({ board: 'mps2-an385', regions, images: [] }, options)).toEqual({})
      } finally {
        child.kill('SIGKILL')
        await once(child, 'close')
        server.close()
        rmSync(folder, { recursive: true, force: true })
      }
    },
    60_000,
  )
})
