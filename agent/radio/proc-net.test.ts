import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseNetDev, parseRoutes4, parseRoutes6, parseWireless } from './proc-net.ts'
import { wayTo } from './way.ts'

const WIRELESS = `Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
 wlan0: 0000   55.  -55.  -256        0      0      0     12      0        3
 wlan1: 0000   40.  201.  161.        0      0      0      0      0        0
`
const DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:2139319422   58635    7    0    0     0          0         0  6302211   41160    2    0    0     0       3          0
`
const ROUTES4 = [
  'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
  'eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0',
  'wlan0\t00000000\t0102A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0',
  'eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0',
  'wg0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0',
  'wlan0\t0500000A\t00000000\t0201\t0\t0\t0\tFFFFFFFF\t0\t0\t0',
].join('\n')
const zeros = '00000000000000000000000000000000'
const ROUTES6 = [
  `fd000000000000000000000000000000 40 ${zeros} 00 ${zeros} 00000100 00000001 00000000 00000001     eth0`,
  `${zeros} 00 ${zeros} 00 fd000000000000000000000000000001 00000400 00000003 00000000 00000003     wlan0`,
  `${zeros} 00 ${zeros} 00 ${zeros} ffffffff 00000001 00000000 00200200       lo`,
].join('\n')

describe('/proc/net', () => {
  it('gives signal and noise in dBm, whether the driver writes the sign or the byte', () => {
    const wireless = parseWireless(WIRELESS)
    expect(wireless.get('wlan0')).toEqual({
      link: 55,
      signalDbm: -55,
      noiseDbm: undefined,
      discardedRetries: 12,
      missedBeacons: 3,
    })
    expect(wireless.get('wlan1')).toMatchObject({ signalDbm: -55, noiseDbm: -95 })
  })

  it('takes counters although a long one touches the colon, and counts lost carriers as errors', () => {
    expect(parseNetDev(DEV).get('eth0')).toEqual({
      rxBytes: 2139319422,
      rxPackets: 58635,
      rxErrors: 7,
      txBytes: 6302211,
      txPackets: 41160,
      txErrors: 5,
    })
  })

  it.each([
    ['192.168.1.7', 'eth0'],
    ['::ffff:192.168.1.7', 'eth0'],
    ['8.8.8.8', 'eth0'],
    ['10.1.2.3', 'wg0'],
    ['10.0.0.5', 'wg0'],
    ['127.0.0.1', 'lo'],
    ['::1', 'lo'],
    ['fd00::7', 'eth0'],
    ['2001:db8::1', 'wlan0'],
    ['2001:db8::1.2.3.4', 'wlan0'],
    ['fe80::1%usb0', 'usb0'],
    [undefined, 'eth0'],
    ['no address', 'eth0'],
  ])('finds the interface that leads to %s: the longest route, then the lowest metric, no refused one', (to, by) => {
    expect(wayTo(to, ROUTES4, ROUTES6)).toBe(by)
  })

  it('finds none where no route leads', () => {
    expect(wayTo('8.8.8.8', '', '')).toBeUndefined()
    expect(wayTo(undefined, '', ROUTES6)).toBe('wlan0')
  })

  it('takes nothing but finite figures from any text, and never throws', () => {
    const noisy = fc.oneof(
      fc.string({ maxLength: 400 }),
      fc
        .array(
          fc.constantFrom('wlan0:', '1', '-256', '999999999999999999999', 'x', '|', '\n', '\t', '.', 'eth0:', '0003'),
        )
        .map((words) => words.join(' ')),
      fc
        .tuple(fc.constantFrom(WIRELESS, DEV, ROUTES4, ROUTES6), fc.nat(), fc.string({ maxLength: 4 }))
        .map(([text, at, put]) => text.slice(0, at % text.length) + put + text.slice((at % text.length) + 1)),
    )
    fc.assert(
      fc.property(noisy, fc.ipV4(), fc.ipV6(), (text, v4, v6) => {
        for (const line of parseWireless(text).values()) {
          for (const value of Object.values(line)) expect(value === undefined || Number.isFinite(value)).toBe(true)
        }
        for (const line of parseNetDev(text).values()) {
          for (const value of Object.values(line)) expect(value).toBeGreaterThanOrEqual(0)
        }
        for (const { prefix, metric } of [...parseRoutes4(text), ...parseRoutes6(text)]) {
          expect(prefix).toBeLessThanOrEqual(128)
          expect(Number.isFinite(metric)).toBe(true)
        }
        wayTo(v4, text, text)
        wayTo(v6, text, text)
      }),
    )
  })
})
