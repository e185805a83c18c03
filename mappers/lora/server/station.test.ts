import { once } from 'node:events'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { LoraDevice } from '../../../hil/lora-device.ts'
import { APP_KEY, bench, binding, DEV_EUI, stationPortOf } from '../bench.test-helper.ts'
import { parseFrame } from '../codec.ts'
import { keyFromHex } from '../keys.ts'
import { REGIONS } from '../regions/all.ts'
import { dashedEui, downMessage, parseMessage, phyOf, routerConfig, stationEui } from './station-messages.ts'

/** More than 2^53: a JSON number would change its last digit. */
const XTIME = '31525197396460693'
const STATION = '58A0CBFFFE800001'

/** A station that speaks what the real one does, over a real WebSocket. */
class TestStation implements AsyncDisposable {
  readonly socket: WebSocket
  readonly #messages: string[] = []
  readonly #takers: ((text: string) => void)[] = []

  constructor(uri: string) {
    this.socket = new WebSocket(uri)
    this.socket.on('message', (data) => {
      const taker = this.#takers.shift()
      if (taker === undefined) this.#messages.push(String(data))
      else taker(String(data))
    })
  }

  next(): Promise<string> {
    const ready = this.#messages.shift()
    return ready === undefined ? new Promise((resolve) => void this.#takers.push(resolve)) : Promise.resolve(ready)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.close()
    if (this.socket.readyState !== WebSocket.CLOSED) await once(this.socket, 'close')
  }
}

/** What a station makes of a frame from the air. */
function uplinkMessage(phy: Buffer): string {
  const frame = parseFrame(phy)
  const upinfo = `"DR":5,"Freq":868100000,"upinfo":{"rctx":0,"xtime":${XTIME},"gpstime":0,"rssi":-51,"snr":9.25}`
  if (frame.kind === 'joinRequest') {
    const { joinEui, devEui, devNonce, mic } = frame
    return `{"msgtype":"jreq","MHdr":0,"JoinEui":"${dashedEui(joinEui)}","DevEui":"${dashedEui(devEui)}","DevNonce":${devNonce},"MIC":${mic | 0},${upinfo}}`
  }
  if (frame.kind !== 'data') throw new Error(frame.kind)
  const { devAddr, fCnt16, port = -1, payload, mic, fOpts } = frame
  return `{"msgtype":"updf","MHdr":${phy[0]},"DevAddr":${devAddr | 0},"FCtrl":${phy[5]},"FCnt":${fCnt16},"FOpts":"${Buffer.from(fOpts).toString('hex')}","FPort":${port},"FRMPayload":"${Buffer.from(payload).toString('hex')}","MIC":${mic | 0},${upinfo}}`
}

describe('Basic Station', () => {
  it('is told where to go, configured, and carries a join, a reading and a desired value', async () => {
    await using b = bench()
    b.mapper.configure([binding({ lora: { listen: { udp: 0, station: 0 } } })])
    const base = `ws://127.0.0.1:${await stationPortOf(b)}`
    await using discovery = new TestStation(`${base}/router-info`)
    await once(discovery.socket, 'open')
    discovery.socket.send('{"router":"58a0:cbff:fe80:1"}')
    const { uri } = JSON.parse(await discovery.next()) as { uri: string }
    expect(uri).toBe(`${base}/router-58-a0-cb-ff-fe-80-00-01`)

    await using station = new TestStation(uri)
    await once(station.socket, 'open')
    station.socket.send('{"msgtype":"version","station":"2.0.6","protocol":2,"model":"test"}')
    expect(JSON.parse(await station.next())).toMatchObject({ msgtype: 'router_config', region: 'EU863' })

    const device = new LoraDevice({ devEui: DEV_EUI, appKey: keyFromHex(APP_KEY)! })
    station.socket.send(uplinkMessage(device.joinRequest()))
    const accept = await station.next()
    expect(accept).toContain(`"xtime":${XTIME}`)
    const accepted = JSON.parse(accept) as { pdu: string; diid: number }
    expect(accepted).toMatchObject({ msgtype: 'dnmsg', dC: 0, RxDelay: 5, RX1DR: 5, RX1Freq: 868_100_000 })
    expect(device.accept(Buffer.from(accepted.pdu, 'hex'))).toBe(true)
    station.socket.send(`{"msgtype":"dntxed","diid":${accepted.diid},"xtime":${XTIME},"rctx":0}`)

    const outcome = b.write('interval', 300)
    station.socket.send(uplinkMessage(device.uplink(2, Buffer.from('0929003c', 'hex'))))
    expect(await b.until(() => b.last('temperature'))).toMatchObject({ value: 23.45 })
    expect(b.news.at(-1)).toMatchObject({ rssiDbm: -51, snrDb: 9.3 })
    const down = JSON.parse(await station.next()) as { pdu: string; diid: number }
    expect(device.receive(Buffer.from(down.pdu, 'hex'))).toMatchObject({ port: 3, confirmed: true })
    station.socket.send(`{"msgtype":"dntxed","diid":${down.diid},"xtime":${XTIME},"rctx":0}`)
    station.socket.send(`{"msgtype":"timesync","txtime":${XTIME}}`)
    expect(await station.next()).toContain(`"txtime":${XTIME}`)
    station.socket.send(uplinkMessage(device.uplink(2, Buffer.from('0929012c', 'hex'))))
    expect(await outcome).toMatchObject({ state: 'applied' })
  })

  it('turns away stations that are not on the list', async () => {
    await using b = bench()
    b.mapper.configure([binding({ lora: { listen: { udp: 0, station: 0, gateways: ['AA-55-5A-00-00-00-01-01'] } } })])
    const socket = new WebSocket(`ws://127.0.0.1:${await stationPortOf(b)}/router-58-a0-cb-ff-fe-80-00-01`)
    const [code] = (await once(socket, 'close')) as [number]
    expect(code).toBe(1008)
    expect(b.mapper.links()[0]?.errors['foreign-gateway']).toBe(1)
  })
})

describe('station messages', () => {
  it('keep every digit of 64-bit integers', () => {
    const message = parseMessage(`{"msgtype":"x","upinfo":{"xtime":${XTIME}},"DR":5}`)
    expect(message).toMatchObject({ upinfo: { xtime: XTIME }, DR: 5 })
    const text = downMessage(
      {
        gateway: STATION,
        devEui: DEV_EUI,
        phy: Buffer.from('60', 'hex'),
        when: { window: 2, rx1DelayS: 1, context: { via: 'station', xtime: XTIME, rctx: '-9007199254740993' } },
        frequencyHz: 869_525_000,
        modulation: { sf: 12, bandwidthHz: 125_000 },
        dr: 0,
        powerDbm: 29,
      },
      7,
    )
    expect(text).toContain(`"xtime":${XTIME},"rctx":-9007199254740993}`)
    expect(JSON.parse(text)).toMatchObject({ RX2DR: 0, RX2Freq: 869_525_000, RxDelay: 1 })
  })

  it('carry every frame, signed addresses and all', () => {
    const key = keyFromHex(APP_KEY)!
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 0xffff_ffff }),
        fc.uint8Array({ maxLength: 50 }),
        fc.boolean(),
        (devAddr, payload, confirmed) => {
          const device = new LoraDevice({ devEui: DEV_EUI, appKey: key })
          device.personalise(devAddr, { nwkSKey: key, appSKey: key })
          const phy = device.uplink(2, payload, { confirmed })
          expect(phyOf(parseMessage(uplinkMessage(phy))!)?.equals(phy)).toBe(true)
        },
      ),
    )
  })

  it('never throw on what a station might send', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), fc.constantFrom('jreq', 'updf', 'propdf', 'x'), (text, msgtype) => {
        const message = parseMessage(text)
        if (message !== undefined) phyOf({ ...message, msgtype, MHdr: 64, MIC: 1, DevAddr: -1, FCtrl: 0, FCnt: 0 })
      }),
      { numRuns: 500 },
    )
    expect(parseMessage('{')).toBeUndefined()
  })

  it('read EUIs in each of their spellings', () => {
    expect(stationEui('router-58-a0-cb-ff-fe-80-00-01')).toBe(STATION)
    expect(stationEui('58a0:cbff:fe80:1')).toBe(STATION)
    expect(stationEui('::1')).toBe('0000000000000001')
    expect(stationEui('nonsense')).toBeUndefined()
  })

  it('configure eight channels within reach of their radios, in every region', () => {
    for (const region of Object.values(REGIONS)) {
      const config = routerConfig(region, 2) as {
        sx1301_conf: Record<string, { freq: number; if: number; radio: number; enable: boolean }>[]
        DRs: number[][]
      }
      expect(config.DRs).toHaveLength(16)
      const [conf] = config.sx1301_conf
      const radios = [conf!['radio_0']!.freq, conf!['radio_1']!.freq]
      const heard = Array.from({ length: 8 }, (_, index) => conf![`chan_multiSF_${index}`]!).filter(
        ({ enable }) => enable,
      )
      for (const channel of heard) {
        expect(Math.abs(channel.if), region.name).toBeLessThanOrEqual(500_000)
        const hz = radios[channel.radio]! + channel.if
        expect([...region.channels.map(({ frequencyHz }) => frequencyHz), ...region.extraHz]).toContain(hz)
      }
      expect(heard.length, region.name).toBeGreaterThanOrEqual(7)
    }
  })
})
