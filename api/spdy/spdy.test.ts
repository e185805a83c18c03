import { createHash } from 'node:crypto'
import { Duplex, duplexPair } from 'node:stream'
import { text } from 'node:stream/consumers'
import { createDeflate, constants as zlib } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SpdyConnection } from './connection.ts'
import { spdyDictionary } from './dictionary.ts'
import { encodeFrame, FrameReader, MAX_CONTROL_BYTES, type SpdyFrame } from './frames.ts'
import { decodeNameValues, encodeNameValues, HeaderPacker, HeaderUnpacker } from './headers.ts'
import type { SpdyStream } from './stream.ts'

const id = fc.integer({ min: 1, max: 0x7fff_ffff })
const bytes = fc.uint8Array({ maxLength: 600 })
const frame: fc.Arbitrary<Exclude<SpdyFrame, { t: 'ignored' }>> = fc.oneof(
  fc.record({ t: fc.constant('data' as const), stream: id, data: bytes, fin: fc.boolean() }),
  fc.record({ t: fc.constant('synStream' as const), stream: id, block: bytes, fin: fc.boolean() }),
  fc.record({ t: fc.constant('synReply' as const), stream: id, block: bytes, fin: fc.boolean() }),
  fc.record({ t: fc.constant('headers' as const), stream: id, block: bytes, fin: fc.boolean() }),
  fc.record({ t: fc.constant('rst' as const), stream: id, status: fc.integer({ min: 0, max: 11 }) }),
  fc.record({ t: fc.constant('ping' as const), id: fc.integer({ min: 0, max: 0xffff_ffff }) }),
  fc.record({ t: fc.constant('goAway' as const), lastStream: id, status: fc.integer({ min: 0, max: 2 }) }),
)
const headers = fc
  .array(fc.tuple(fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/), fc.string({ unit: 'binary', maxLength: 60 })), {
    maxLength: 20,
  })
  .map((pairs) => new Map(pairs.map(([name, value]) => [name, value.replaceAll('\0', '')])))

/** Cuts bytes into pieces of any sizes. */
const cuts = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 40 })
function* pieces(all: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let at = 0, index = 0; at < all.length; index++) {
    const size = sizes[index % sizes.length]!
    yield all.subarray(at, at + size)
    at += size
  }
}

/** Frames as words that do not depend on how data was cut. */
const worded = (frames: readonly SpdyFrame[]): string[] =>
  frames.flatMap((each) => {
    if (each.t !== 'data') return [JSON.stringify({ ...each, ...('block' in each ? { block: [...each.block] } : {}) })]
    return [...[...each.data].map((byte) => `${each.stream}:${byte}`), ...(each.fin ? [`${each.stream} end`] : [])]
  })

describe('SPDY frames', () => {
  it('come out as they went in, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), cuts, (frames, sizes) => {
        const reader = new FrameReader()
        const all = Buffer.concat(frames.map(encodeFrame))
        const read = [...pieces(all, sizes)].flatMap((piece) => [...reader.read(piece)])
        expect(worded(read)).toEqual(worded(frames))
      }),
    )
  })

  it('any bytes are frames or a refusal, and nothing is held that is longer than a control frame', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), cuts, (garbage, sizes) => {
        const reader = new FrameReader()
        try {
          for (const piece of pieces(Buffer.from(garbage), sizes)) for (const _ of reader.read(piece));
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'SLUICE_SPDY_BROKEN' })
        }
      }),
    )
    const long = Buffer.alloc(8)
    long.writeUInt32BE(0x8003_0001, 0)
    long.writeUInt32BE(MAX_CONTROL_BYTES + 1, 4)
    expect(() => [...new FrameReader().read(long)]).toThrow('control frame')
  })
})

describe('SPDY headers', () => {
  it('the dictionary is that of the specification', () => {
    const dictionary = spdyDictionary()
    expect(dictionary.length).toBe(1423)
    // Digest of the bytes as they are in kubectl.
    const digest = createHash('sha256').update(dictionary).digest('hex')
    expect(digest).toBe('51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02')
  })

  it('names and values survive', () => {
    fc.assert(
      fc.property(headers, (map) => {
        expect(decodeNameValues(encodeNameValues(map))).toEqual(map)
      }),
    )
  })

  it('any bytes are headers or a refusal', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (garbage) => {
        try {
          decodeNameValues(Buffer.from(garbage))
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: 'SLUICE_SPDY_BROKEN' })
        }
      }),
    )
  })

  it('blocks packed by us are unpacked, one after another', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(headers, { minLength: 1, maxLength: 6 }), async (list) => {
        const packer = new HeaderPacker()
        using unpacker = new HeaderUnpacker()
        for (const map of list) expect(await unpacker.unpack(packer.pack(map))).toEqual(map)
      }),
      { numRuns: 50 },
    )
  })

  it('blocks packed by zlib with the dictionary are unpacked, as other programs send them', async () => {
    const deflate = createDeflate({ dictionary: spdyDictionary() })
    using unpacker = new HeaderUnpacker()
    for (const type of ['error', 'stdout', 'stdin']) {
      const map = new Map([
        ['streamtype', type],
        ['host', 'gw'],
      ])
      const block = await new Promise<Buffer>((resolve) => {
        const parts: Buffer[] = []
        const take = (part: Buffer) => parts.push(part)
        deflate.on('data', take)
        deflate.write(encodeNameValues(map), () =>
          deflate.flush(zlib.Z_SYNC_FLUSH, () => {
            deflate.off('data', take)
            resolve(Buffer.concat(parts))
          }),
        )
      })
      expect(await unpacker.unpack(block)).toEqual(map)
    }
  })

  it('a bomb and broken blocks are refused, and everything behind them', async () => {
    const bomb = await new Promise<Buffer>((resolve) => {
      const deflate = createDeflate({ dictionary: spdyDictionary() })
      const parts: Buffer[] = []
      deflate.on('data', (part: Buffer) => parts.push(part)).on('end', () => resolve(Buffer.concat(parts)))
      deflate.end(Buffer.alloc(5_000_000))
    })
    expect(bomb.length).toBeLessThan(MAX_CONTROL_BYTES)
    using unpacker = new HeaderUnpacker()
    await expect(unpacker.unpack(bomb)).rejects.toMatchObject({ code: 'SLUICE_SPDY_BROKEN' })
    await expect(unpacker.unpack(new HeaderPacker().pack(new Map()))).rejects.toThrow('64 KiB')
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (garbage) => {
        using other = new HeaderUnpacker()
        await other.unpack(garbage).catch((thrown: unknown) => {
          expect(thrown).toMatchObject({ code: 'SLUICE_SPDY_BROKEN' })
        })
      }),
      { numRuns: 50 },
    )
  })
})

describe('a SPDY connection', () => {
  const connected = (onStream: (stream: SpdyStream) => void, maxStreams?: number) => {
    const [near, far] = duplexPair()
    const server = new SpdyConnection(far, {
      role: 'server',
      onStream,
      ...(maxStreams === undefined ? {} : { maxStreams }),
    })
    return { client: new SpdyConnection(near, { role: 'client' }), server, near }
  }

  it('carries many streams both ways, each to its own end', async () => {
    const { client, server } = connected((stream) => {
      stream.accept(new Map([['took', stream.headers.get('name') ?? '']]))
      stream.pipe(stream)
    })
    const told = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const stream = client.open(new Map([['name', `n${index}`]]))
        stream.end(`${index} `.repeat(20_000))
        expect((await stream.accepted).get('took')).toBe(`n${index}`)
        return text(stream)
      }),
    )
    for (const [index, each] of told.entries()) expect(each).toBe(`${index} `.repeat(20_000))
    expect(client.streams + server.streams).toBe(0)
    await client.close()
    await server.closed
  })

  it('half-closes: the end of one direction leaves the other open', async () => {
    const { client } = connected(async (stream) => {
      stream.accept()
      stream.end(`got ${(await text(stream)).length}`)
    })
    const stream = client.open(new Map())
    stream.end(Buffer.alloc(300_000))
    expect(await text(stream)).toBe('got 300000')
  })

  it('a stream nobody reads holds up the writer, and not for ever', async () => {
    const held = Promise.withResolvers<SpdyStream>()
    const { client } = connected((stream) => {
      stream.accept()
      held.resolve(stream)
    })
    const stream = client.open(new Map())
    const all = Buffer.alloc(4_000_000, 7)
    const written = new Promise((resolve) => stream.end(all, () => resolve('written')))
    const reader = await held.promise
    await new Promise((resolve) => setImmediate(resolve))
    expect(reader.readableLength).toBeLessThan(1_000_000)
    let bytesRead = 0
    for await (const part of reader as AsyncIterable<Buffer>) bytesRead += part.length
    expect(bytesRead).toBe(all.length)
    expect(await written).toBe('written')
  })

  it('what came before the connection was lost is read to its end', async () => {
    const { client, server } = connected((stream) => {
      stream.accept()
      stream.end('the last words', () => server.destroy())
    })
    const stream = client.open(new Map())
    await stream.accepted
    await client.closed
    expect(await text(stream)).toBe('the last words')
  })

  it.each([
    ['ended', (far: Duplex) => far.push(null)],
    ['broke', (far: Duplex) => far.destroy(new Error('connection reset'))],
  ])(
    'what came in one piece with the answer to a stream is read, though the connection %s behind it',
    async (_, end) => {
      const far = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done(), autoDestroy: false })
      const connection = new SpdyConnection(far, { role: 'client' })
      const stream = connection.open(new Map([['streamtype', 'error']]))
      const read: Buffer[] = []
      stream.on('data', (part: Buffer) => read.push(part))
      const packer = new HeaderPacker()
      const frames: readonly Exclude<SpdyFrame, { t: 'ignored' }>[] = [
        { t: 'synReply', stream: 1, block: packer.pack(new Map()), fin: false },
        { t: 'data', stream: 1, data: Buffer.from('{"status":"Success"}'), fin: false },
        { t: 'rst', stream: 1, status: 5 },
      ]
      await new Promise((resolve) => setImmediate(resolve))
      far.once('data', () => end(far))
      far.push(Buffer.concat(frames.map(encodeFrame)))
      await connection.closed
      expect(Buffer.concat(read).toString()).toBe('{"status":"Success"}')
      await stream.accepted
    },
  )

  it('refuses streams beyond its limit, one by one', async () => {
    const { client } = connected((stream) => stream.accept(), 2)
    const streams = [1, 2, 3].map(() => client.open(new Map()))
    await Promise.all([streams[0]!.accepted, streams[1]!.accepted])
    await expect(streams[2]!.accepted).rejects.toMatchObject({ code: 'SLUICE_SPDY_RESET' })
    streams[0]!.destroy()
    await expect(client.open(new Map()).accepted).resolves.toEqual(new Map())
  })

  it('ends all streams when the connection breaks or the other side breaks the rules', async () => {
    const { client, server, near } = connected((stream) => stream.accept())
    const stream = client.open(new Map())
    await stream.accepted
    const ended = new Promise((resolve) => stream.once('close', resolve))
    near.write(Buffer.from('GET / HTTP/1.1\r\n\r\n........................'))
    near.write(Buffer.from([0x80, 0x02, 0, 1, 0, 0, 0, 0]))
    near.destroy()
    await Promise.all([ended, server.closed])
  })

  it('any bytes from the other side end it at worst', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 500 }), async (garbage) => {
        const { server, near } = connected((stream) => stream.accept())
        near.end(garbage)
        near.resume()
        await server.closed
      }),
      { numRuns: 100 },
    )
  })
})
