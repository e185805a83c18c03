import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ensureNetwork } from './cni.ts'
import { freeSubnet, overlaps, parseSubnet, routedSubnets } from './subnet.ts'

const HEAD = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n'
const hex = (text: string) => Buffer.from(text.split('.').map(Number).reverse()).toString('hex').toUpperCase()
const row = (to: string, mask: string) => `eth0\t${hex(to)}\t00000000\t0001\t0\t0\t0\t${hex(mask)}\t0\t0\t0\n`

describe('a range of addresses for pods', () => {
  it('is the first that the machine has no way to; the way to everything else does not count', () => {
    expect(freeSubnet(HEAD + row('0.0.0.0', '0.0.0.0'))).toBe('10.213.0.0/22')
    expect(freeSubnet(HEAD + row('10.0.0.0', '255.0.0.0'))).toBe('172.29.212.0/22')
    expect(freeSubnet(HEAD + row('10.213.1.0', '255.255.255.0'))).toBe('172.29.212.0/22')
    const all = ['10.0.0.0', '172.0.0.0', '192.0.0.0'].map((to) => row(to, '255.0.0.0')).join('')
    expect(freeSubnet(HEAD + all)).toBeUndefined()
    expect(freeSubnet('')).toBe('10.213.0.0/22')
  })

  it('is read from the table of the kernel, and overlapping is what sharing an address is', () => {
    expect(routedSubnets(HEAD + row('192.168.7.0', '255.255.255.0'))).toEqual([parseSubnet('192.168.7.0/24')])
    const subnet = fc.record({ base: fc.nat(255), bits: fc.integer({ min: 1, max: 8 }) }).map(({ base, bits }) => {
      const size = 2 ** (8 - bits)
      return { base: Math.floor(base / size) * size * 2 ** 24, bits, first: Math.floor(base / size) * size, size }
    })
    fc.assert(
      fc.property(subnet, subnet, (a, b) => {
        const shared = a.first < b.first + b.size && b.first < a.first + a.size
        expect(overlaps(a, b)).toBe(shared)
      }),
    )
    fc.assert(fc.property(fc.string(), (text) => void routedSubnets(text)))
    expect(['10.0.0.0', '10.0.0/8', '10.0.0.256/8', '10.0.0.0/33', 'a.b.c.d/8'].map(parseSubnet)).toEqual(
      Array.from({ length: 5 }),
    )
  })
})

describe('a network for pods', () => {
  let folder: string
  const folders = () => ({ configuration: join(folder, 'net.d'), plugins: join(folder, 'bin') })
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-cni-'))
    mkdirSync(join(folder, 'bin'))
    for (const name of ['bridge', 'host-local', 'portmap', 'loopback']) {
      writeFileSync(join(folder, 'bin', name), '')
      chmodSync(join(folder, 'bin', name), 0o755)
    }
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('is configured where nobody has configured one, whole or not at all', () => {
    ensureNetwork(folders(), HEAD)
    expect(readdirSync(join(folder, 'net.d'))).toEqual(['10-sluice.conflist'])
    const written = JSON.parse(readFileSync(join(folder, 'net.d/10-sluice.conflist'), 'utf8'))
    expect(written.plugins.map(({ type }: { type: string }) => type)).toEqual(['bridge', 'portmap'])
    expect(written.plugins[0].ipam.ranges).toEqual([[{ subnet: '10.213.0.0/22' }]])
  })

  it("leaves somebody else's alone", () => {
    mkdirSync(join(folder, 'net.d'))
    writeFileSync(join(folder, 'net.d/87-podman-bridge.conflist'), '{}')
    ensureNetwork(folders(), HEAD)
    expect(readdirSync(join(folder, 'net.d'))).toEqual(['87-podman-bridge.conflist'])
  })

  it('cannot be had without its plugins, which is said with what to install or to set', () => {
    rmSync(join(folder, 'bin/portmap'))
    const usual = existsSync('/usr/lib/cni/bridge')
    expect(() => ensureNetwork(folders(), HEAD)).toThrow(
      expect.objectContaining({
        code: 'SLUICE_POD_NETWORK',
        message: expect.stringContaining('portmap'),
        hint: expect.stringContaining(usual ? 'bin_dir = "/usr/lib/cni"' : 'containernetworking-plugins'),
      }),
    )
    expect(existsSync(join(folder, 'net.d'))).toBe(false)
  })

  it('cannot be had where every range is in use', () => {
    const all = ['10.0.0.0', '172.0.0.0', '192.0.0.0'].map((to) => row(to, '255.0.0.0')).join('')
    expect(() => ensureNetwork(folders(), HEAD + all)).toThrow(expect.objectContaining({ code: 'SLUICE_POD_NETWORK' }))
  })
})
