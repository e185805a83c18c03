import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  buildData,
  buildJoinAccept,
  buildJoinRequest,
  cryptPayload,
  type DataContent,
  dataMic,
  joinRequestFits,
  openJoinAccept,
  parseFrame,
} from './codec.ts'
import { deriveSessionKeys, keyFromHex, LoraKey } from './keys.ts'
import { oracle } from './lora-packet.test-helper.ts'
import { seal, unseal } from './sealed.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map((one) => Buffer.from(one))
const eui = bytes(8).map((one) => one.toString('hex').toUpperCase())
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })

const dataContent: fc.Arbitrary<DataContent> = fc.record({
  up: fc.boolean(),
  confirmed: fc.boolean(),
  devAddr: u32,
  adr: fc.boolean(),
  adrAckReq: fc.boolean(),
  ack: fc.boolean(),
  pending: fc.boolean(),
  fCnt: u32,
  fOpts: fc.uint8Array({ maxLength: 15 }),
  port: fc.integer({ min: 1, max: 223 }),
  payload: fc.uint8Array({ minLength: 1, maxLength: 222 }),
})

/** Upper half of the counter, as the oracle wants it. */
const upper = (fCnt: number) => {
  const out = Buffer.alloc(2)
  out.writeUInt16LE(Math.floor(fCnt / 65_536))
  return out
}

describe('AES-CMAC', () => {
  it.each([
    ['', 'bb1d6929'],
    ['6bc1bee22e409f96e93d7e117393172a', '070a16b4'],
    ['6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411', 'dfa66747'],
  ])('agrees with RFC 4493 for %s', (message, mac) => {
    const key = keyFromHex('2b7e151628aed2a6abf7158809cf4f3c')!
    const out = Buffer.alloc(4)
    out.writeUInt32LE(key.mic(Buffer.from(message, 'hex')))
    expect(out.toString('hex')).toBe(mac)
  })
})

describe('data frames', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(dataContent, bytes(16), bytes(16), (content, nwk, app) => {
        const [nwkSKey, appSKey] = [new LoraKey(nwk), new LoraKey(app)]
        const phy = buildData(content, nwkSKey, appSKey)
        const frame = parseFrame(phy)
        if (frame.kind !== 'data') throw new Error(frame.kind)
        expect(frame).toMatchObject({
          up: content.up,
          confirmed: content.confirmed,
          devAddr: content.devAddr,
          adr: content.adr,
          adrAckReq: content.up && content.adrAckReq,
          ack: content.ack,
          pending: content.pending,
          fCnt16: content.fCnt % 65_536,
          port: content.port,
        })
        expect(dataMic(nwkSKey, phy, content.up, content.devAddr, content.fCnt)).toBe(frame.mic)
        const clear = cryptPayload(appSKey, frame.payload, content.up, content.devAddr, content.fCnt)
        expect(clear.equals(content.payload!)).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  it('are authentic and readable to lora-packet, all 32 bits of the counter included', () => {
    fc.assert(
      fc.property(dataContent, bytes(16), bytes(16), (content, nwk, app) => {
        const phy = buildData(content, new LoraKey(nwk), new LoraKey(app))
        const packet = oracle.fromWire(phy)
        expect(oracle.verifyMIC(packet, nwk, undefined, upper(content.fCnt))).toBe(true)
        expect(oracle.decrypt(packet, app, nwk, upper(content.fCnt)).equals(content.payload!)).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  it('of lora-packet are authentic and readable here', () => {
    fc.assert(
      fc.property(dataContent, bytes(16), bytes(16), (content, nwk, app) => {
        const { up, confirmed, devAddr, fCnt, port, payload } = content
        const address = Buffer.alloc(4)
        address.writeUInt32BE(devAddr)
        const packet = oracle.fromFields(
          {
            MType: `${confirmed ? 'Confirmed' : 'Unconfirmed'} Data ${up ? 'Up' : 'Down'}`,
            DevAddr: address,
            FCnt: fCnt % 65_536,
            FPort: port!,
            payload: Buffer.from(payload!),
          },
          app,
          nwk,
          undefined,
          upper(fCnt),
        )
        const phy = packet.getPHYPayload() as Buffer
        const frame = parseFrame(phy)
        if (frame.kind !== 'data') throw new Error(frame.kind)
        expect(dataMic(new LoraKey(nwk), phy, up, devAddr, fCnt)).toBe(frame.mic)
        expect(cryptPayload(new LoraKey(app), frame.payload, up, devAddr, fCnt).equals(payload!)).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  it('without a port carry a right MIC, where lora-packet leaves a placeholder', () => {
    const key = keyFromHex('000102030405060708090A0B0C0D0E0F')!
    const phy = buildData({ up: false, confirmed: false, devAddr: 0x2601_1bda, ack: true, fCnt: 5 }, key, key)
    expect(phy).toHaveLength(12)
    const frame = parseFrame(phy)
    expect(frame).toMatchObject({ kind: 'data', ack: true })
    expect(frame).not.toHaveProperty('port')
    expect(phy.subarray(-4).toString('hex')).not.toBe('eeeeeeee')
    const packet = oracle.fromWire(phy)
    expect(oracle.verifyMIC(packet, Buffer.from('000102030405060708090A0B0C0D0E0F', 'hex'))).toBe(true)
  })
})

describe('joining', () => {
  it('request and accept come out as they went in, and lora-packet agrees', () => {
    const nonce24 = fc.integer({ min: 0, max: 0xff_ffff })
    fc.assert(
      fc.property(
        eui,
        eui,
        fc.integer({ min: 0, max: 65_535 }),
        bytes(16),
        nonce24,
        nonce24,
        u32,
        fc.option(bytes(16)),
        (joinEui, devEui, devNonce, key, joinNonce, netId, devAddr, cfList) => {
          const appKey = new LoraKey(key)
          const request = buildJoinRequest({ joinEui, devEui, devNonce }, appKey)
          const parsed = parseFrame(request)
          if (parsed.kind !== 'joinRequest') throw new Error(parsed.kind)
          expect(parsed).toMatchObject({ joinEui, devEui, devNonce })
          expect(joinRequestFits(request, parsed, appKey)).toBe(true)
          expect(oracle.verifyMIC(oracle.fromWire(request), undefined, key)).toBe(true)

          const content = {
            joinNonce,
            netId,
            devAddr,
            rx1DrOffset: 2,
            rx2DataRate: 3,
            rxDelay: 5,
            ...(cfList === null ? {} : { cfList }),
          }
          const accept = buildJoinAccept(content, appKey)
          const opened = openJoinAccept(accept, appKey)
          expect(opened).toMatchObject({ ...content, ...(cfList === null ? {} : { cfList: Buffer.from(cfList) }) })
          const theirs = oracle.fromWire(oracle.decryptJoinAccept(oracle.fromWire(accept), key))
          expect(theirs.AppNonce!.readUIntBE(0, 3)).toBe(joinNonce)
          expect(theirs.DevAddr!.readUInt32BE(0)).toBe(devAddr)

          const u24 = (value: number) => Buffer.from(value.toString(16).padStart(6, '0'), 'hex')
          const u16 = Buffer.from(devNonce.toString(16).padStart(4, '0'), 'hex')
          const theirKeys = oracle.generateSessionKeys10(key, u24(netId), u24(joinNonce), u16)
          const keys = deriveSessionKeys(appKey, joinNonce, netId, devNonce)
          expect(keys.nwkSKey.export().equals(theirKeys.NwkSKey)).toBe(true)
          expect(keys.appSKey.export().equals(theirKeys.AppSKey)).toBe(true)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('does not open with another key', () => {
    const accept = buildJoinAccept(
      { joinNonce: 1, netId: 0, devAddr: 1, rx1DrOffset: 0, rx2DataRate: 0, rxDelay: 1 },
      keyFromHex('0'.repeat(32))!,
    )
    expect(openJoinAccept(accept, keyFromHex('1'.repeat(32))!)).toBeUndefined()
  })
})

describe('bad input', () => {
  it('never throws, whatever comes from the air', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (phy) => {
        expect(parseFrame(phy)).toHaveProperty('kind')
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    ['', 'empty'],
    ['40', 'at least 12'],
    ['400102030400000001020304ff'.slice(0, 22), 'at least 12'],
    [`4001020304${'0f'}0000${'00'.repeat(5)}`, 'past the end'],
    ['000102', '23 bytes'],
    ['2001', '17 or 33'],
    ['41010203040000000102030405', 'version'],
    [`4001020304010000${'02'}00aa01020304`, 'both in FOpts and at port 0'],
  ])('%s is malformed: %s', (hex, reason) => {
    expect(parseFrame(Buffer.from(hex, 'hex'))).toMatchObject({
      kind: 'malformed',
      reason: expect.stringContaining(reason),
    })
  })

  it('knows rejoin requests and proprietary frames for what they are', () => {
    expect(parseFrame(Buffer.from(`c000${'010203'}${'11'.repeat(8)}0500aabbccdd`, 'hex'))).toMatchObject({
      kind: 'rejoinRequest',
      type: 0,
      rejoinCount: 5,
    })
    expect(parseFrame(Buffer.from(`c001${'22'.repeat(8)}${'11'.repeat(8)}0500aabbccdd`, 'hex'))).toMatchObject({
      kind: 'rejoinRequest',
      type: 1,
    })
    expect(parseFrame(Buffer.from('e0aabb', 'hex'))).toMatchObject({ kind: 'proprietary' })
  })
})

describe('keys', () => {
  it('print as a placeholder', () => {
    const key = keyFromHex('2B7E151628AED2A6ABF7158809CF4F3C')!
    expect(JSON.stringify({ key })).toBe('{"key":"[key]"}')
    expect(keyFromHex('2B7E1516')).toBeUndefined()
  })

  it('are sealed for one device and one root key, and anything else opens nothing', () => {
    const root = keyFromHex('1'.repeat(32))!
    const sealed = seal(root, 'DEV1', 'secret')
    expect(unseal(root, 'DEV1', sealed)).toBe('secret')
    expect(unseal(root, 'DEV2', sealed)).toBeUndefined()
    expect(unseal(keyFromHex('2'.repeat(32))!, 'DEV1', sealed)).toBeUndefined()
    fc.assert(fc.property(fc.base64String(), (text) => unseal(root, 'DEV1', text) === undefined))
  })
})
