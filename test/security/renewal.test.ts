import { createPrivateKey, sign, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { renew } from '../../agent/link/enrol.ts'
import { type Identity, loadIdentity } from '../../agent/link/identity.ts'
import { type Clock, systemClock, type Timer } from '../../api/clock.ts'
import { httpsCall, newRequest } from '../../cloudcore/testing/scripted-agent.ts'
import { Assembly } from '../harness/assembly.ts'
import { eventually } from '../harness/until.ts'

const DAY_MS = 86_400_000
const LONG_MS = 3_600_000

/**
 * Days pass when a test says so: the date moves and long timers that are due fire; short ones run as ever. TLS knows
 * only the machine's own date, so tests begin in the past and end today.
 */
class Calendar implements Clock {
  #aheadMs: number
  readonly #long = new Set<{ readonly dueMs: number; readonly fn: () => void }>()

  constructor(startDaysAgo: number) {
    this.#aheadMs = -startDaysAgo * DAY_MS
  }

  now = () => systemClock.now() + this.#aheadMs
  monotonic = () => systemClock.monotonic()

  after = (delayMs: number, fn: () => void, unref?: boolean): Timer => {
    if (delayMs < LONG_MS) return systemClock.after(delayMs, fn, unref)
    const timer = { dueMs: this.now() + delayMs, fn }
    this.#long.add(timer)
    return { cancel: () => void this.#long.delete(timer) }
  }

  pass(ms: number): void {
    this.#aheadMs += ms
    for (const timer of [...this.#long]) {
      if (timer.dueMs > this.now()) continue
      this.#long.delete(timer)
      timer.fn()
    }
  }
}

const serialOf = ({ certPem }: { certPem: string }) => new X509Certificate(certPem).serialNumber

describe('the certificate of a gateway', { timeout: 60_000 }, () => {
  it('is renewed between 70 and 90 per cent of its life with a new key, and the link goes on with it', async () => {
    const clock = new Calendar(80)
    await using house = await Assembly.start({ cloudClock: clock })
    house.tellOnFailure()
    const dataDir = join(house.folder, 'gateway')
    await using agent = await house.startAgent({ dataDir }, { clock })
    await eventually(() => agent.link?.status.connected, 'it is connected')
    const first = loadIdentity(dataDir)!
    const { validFromDate, validToDate } = new X509Certificate(first.certPem)
    const share = () => (clock.now() - validFromDate.getTime()) / (validToDate.getTime() - validFromDate.getTime())
    let at = 0
    while (serialOf(loadIdentity(dataDir)!) === serialOf(first)) {
      at = share()
      expect(at).toBeLessThan(0.92)
      const lines = house.log.length
      clock.pass(DAY_MS)
      // Whatever the new day brought has said so when the hub answered once more.
      await httpsCall(`${house.core.info.hubUrl}/healthz`, { caPem: first.caPem })
      if (house.log.slice(lines).some(({ message }) => /renew/i.test(message))) {
        await eventually(() => serialOf(loadIdentity(dataDir)!) !== serialOf(first), 'the new certificate is kept')
      }
    }
    expect(at).toBeGreaterThan(0.68)
    const second = loadIdentity(dataDir)!
    expect(second.keyPem).not.toBe(first.keyPem)
    await eventually(
      () =>
        house.core.hub.session('gw-1')?.certificateExpiresMs ===
        new X509Certificate(second.certPem).validToDate.getTime(),
      'the link has the new certificate',
    )
    expect(house.log.some(({ message }) => message === 'gateway renewed')).toBe(true)
  })

  it('is renewed after a long absence by proof of its key, and not by anybody else', async () => {
    const clock = new Calendar(120)
    await using house = await Assembly.start({ cloudClock: clock })
    house.tellOnFailure()
    const dataDir = join(house.folder, 'gateway')
    {
      await using agent = await house.startAgent({ dataDir }, { clock })
      await eventually(() => loadIdentity(dataDir), 'it has joined')
      expect(agent.gateway).toBe('gw-1')
    }
    const old = loadIdentity(dataDir)!
    clock.pass(120 * DAY_MS)
    expect(new X509Certificate(old.certPem).validToDate.getTime()).toBeLessThan(Date.now())

    const url = `${house.core.info.hubUrl}/renew`
    const { csrPem } = await newRequest()
    const { keyPem: foreignKey } = await newRequest()
    const signed = (keyPem: string, text: string) =>
      sign('sha256', Buffer.from(text), createPrivateKey(keyPem)).toString('base64')
    const asking = async (body: object) => {
      const { status, body: text } = await httpsCall(url, { method: 'POST', caPem: old.caPem, body })
      return [status, (JSON.parse(text) as { code: string }).code]
    }
    expect(await asking({ csrPem })).toEqual([400, 'SLUICE_JOIN_BAD_REQUEST'])
    expect(await asking({ csrPem, certPem: old.certPem })).toEqual([400, 'SLUICE_JOIN_BAD_REQUEST'])
    const wrong = await asking({ csrPem, certPem: old.certPem, signature: signed(foreignKey, csrPem) })
    expect(wrong[1]).toBe('SLUICE_JOIN_NOT_PROVEN')
    // A proof that was made for another request is none.
    const { csrPem: other } = await newRequest()
    const replayed = await asking({ csrPem: other, certPem: old.certPem, signature: signed(old.keyPem, csrPem) })
    expect(replayed[1]).toBe('SLUICE_JOIN_NOT_PROVEN')

    await using agent = await house.startAgent({ dataDir }, { clock })
    await eventually(() => agent.link?.status.connected, 'it is back with a new certificate')
    expect(serialOf(loadIdentity(dataDir)!)).not.toBe(serialOf(old))
  })

  it('cannot be renewed when it expired too long ago; the gateway goes on by itself and says what to do', async () => {
    const clock = new Calendar(300)
    await using house = await Assembly.start({ cloudClock: clock })
    house.tellOnFailure()
    const dataDir = join(house.folder, 'gateway')
    {
      await using _agent = await house.startAgent({ dataDir }, { clock })
      await eventually(() => loadIdentity(dataDir), 'it has joined')
    }
    clock.pass(300 * DAY_MS)
    const old: Identity = JSON.parse(readFileSync(join(dataDir, 'identity.json'), 'utf8'))
    await expect(renew(old, Date.now())).rejects.toMatchObject({
      message: expect.stringContaining('SLUICE_JOIN_CERT_EXPIRED'),
    })
    await using agent = await house.startAgent({ dataDir }, { clock })
    await eventually(() => house.log.some(({ message }) => message.includes('SLUICE_JOIN_CERT_EXPIRED')), 'it says so')
    expect(agent.socketPath).toContain('agent.sock')
  })
})
