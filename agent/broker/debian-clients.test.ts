import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../api/clock.ts'
import { temporaryDirectory } from '../test-helpers/plant.ts'
import { setPassword } from './access.ts'
import { openEmbeddedBroker } from './embedded.ts'
import { brokersUnderTest, embedded, GUARDED, guardedBrokers, lastingBrokers } from './test-brokers.test-helper.ts'

const MISSING = 'apt-get install mosquitto-clients'
const installed = existsSync('/usr/bin/mosquitto_pub')
if (!installed && process.env['CI'] === 'true') throw new Error(`Debian's MQTT clients are missing: ${MISSING}`)

interface Program {
  readonly child: ChildProcess
  /** Resolves with what it said on both outputs when it has ended. */
  readonly ended: Promise<{ readonly code: number | null; readonly text: string }>
  /** Resolves when it has said this. */
  says(words: string): Promise<void>
}

/** One of Debian's clients; `-W` ends it by itself should the broker stay silent. */
function client(name: 'mosquitto_pub' | 'mosquitto_sub', port: number, ...args: string[]): Program {
  const limit = name === 'mosquitto_sub' ? ['-W', '15'] : []
  // They keep what they say to a pipe to themselves until they have a lot of it.
  const argv = ['-oL', name, '-d', '-p', String(port), ...limit, ...args]
  const child = spawn('stdbuf', argv, { stdio: ['ignore', 'pipe', 'pipe'] })
  let text = ''
  const waiting: { readonly words: string; readonly resolve: () => void }[] = []
  const take = (chunk: Buffer) => {
    text += chunk.toString()
    for (const { words, resolve } of waiting) if (text.includes(words)) resolve()
  }
  child.stdout.on('data', take)
  child.stderr.on('data', take)
  return {
    child,
    ended: new Promise((resolve) => child.once('close', (code) => resolve({ code, text }))),
    says: (words) =>
      text.includes(words) ? Promise.resolve() : new Promise((resolve) => waiting.push({ words, resolve })),
  }
}

const lines = (text: string) => text.split('\n').filter((line) => line !== '' && !/^(Client|Subscribed)/.test(line))

describe.skipIf(!installed).each(brokersUnderTest)("Debian's clients at the %s", (_name, start) => {
  it('get what was retained before, and what comes, with every quality of service', async () => {
    await using under = await start()
    await client('mosquitto_pub', under.port, '-t', 'state/a', '-m', 'kept', '-r', '-q', '1').ended
    const reader = client('mosquitto_sub', under.port, '-t', 'state/#', '-q', '2', '-C', '4', '-F', '%r %t %p')
    await reader.says('kept')
    for (const qos of ['0', '1', '2']) {
      expect((await client('mosquitto_pub', under.port, '-t', 'state/b', '-m', `q${qos}`, '-q', qos).ended).code).toBe(
        0,
      )
    }
    expect(lines((await reader.ended).text)).toEqual(['1 state/a kept', '0 state/b q0', '0 state/b q1', '0 state/b q2'])
  })

  it('leave a last will when they are killed, and none when they say goodbye', async () => {
    await using under = await start()
    const reader = client('mosquitto_sub', under.port, '-t', 'wills/+', '-C', '1', '-F', '%t %p')
    await reader.says('Subscribed')
    const will = (name: string) => ['-t', 'x', '--will-topic', `wills/${name}`, '--will-payload', 'gone']
    const polite = client('mosquitto_sub', under.port, ...will('polite'))
    await polite.says('Subscribed')
    polite.child.kill('SIGTERM')
    await polite.ended
    const killed = client('mosquitto_sub', under.port, ...will('killed'))
    await killed.says('Subscribed')
    killed.child.kill('SIGKILL')
    expect(lines((await reader.ended).text)).toEqual(['wills/killed gone'])
  })
})

describe.skipIf(!installed)("Debian's clients at the embedded broker", () => {
  it('are told at once that it speaks no MQTT 5, which is counted and explained in the log', async () => {
    const logged: string[] = []
    const log = (_level: string, message: string) => void logged.push(message)
    await using broker = await openEmbeddedBroker({ port: 0 }, { clock: systemClock, log })
    const { code, text } = await client('mosquitto_pub', broker.port!, '-V', 'mqttv5', '-t', 'a', '-m', '1').ended
    expect(code).not.toBe(0)
    expect(text).toContain('Unsupported Protocol Version')
    expect(broker.stats().dropped['protocol-version']).toBe(1)
    expect(logged.join('\n')).toMatch(/speaks MQTT 5, this broker 3\.1\.1.*--mqtt-broker/)
    for (const version of ['mqttv31', 'mqttv311']) {
      expect((await client('mosquitto_pub', broker.port!, '-V', version, '-t', 'a', '-m', '1').ended).code).toBe(0)
    }
  })

  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address

  it.skipIf(outside === undefined)(
    'come in from the network with a password only, on a machine with a network',
    async () => {
      using directory = temporaryDirectory()
      await setPassword(join(directory.path, 'mqtt-users.json'), 'panel', 'pw', { publish: ['a'] })
      await using broker = await embedded({ directory: directory.path, host: '0.0.0.0' })
      const publish = (...args: string[]) => client('mosquitto_pub', broker.port!, ...args, '-t', 'a', '-m', '1').ended
      expect((await publish()).code).toBe(0)
      expect((await publish('-h', outside!)).text).toMatch(/not authori[sz]ed/i)
      expect((await publish('-h', outside!, '-u', 'panel', '-P', 'pw')).code).toBe(0)
    },
  )
})

describe.skipIf(!installed).each(guardedBrokers)("Debian's clients at the %s with passwords", (name, start) => {
  it('reach what their user may, and nothing else', async () => {
    await using under = await start()
    const heard: string[] = []
    const first = Promise.withResolvers<void>()
    using _agent = under.broker.local.subscribe('home/#', (topic) => {
      heard.push(topic)
      first.resolve()
    })
    const as = ['-u', GUARDED.user, '-P', GUARDED.password]
    for (const wrong of [[], ['-u', 'cellar', '-P', 'guess'], ['-u', 'nobody', '-P', 'secret']]) {
      const { code, text } = await client('mosquitto_pub', under.port, ...wrong, '-t', 'home/cellar/a', '-m', '1').ended
      expect([code, /not authori[sz]ed/i.test(text)]).toEqual([5, true])
    }
    const reader = client('mosquitto_sub', under.port, ...as, '-t', 'home/#', '-C', '1', '-F', '%t')
    await reader.says('Subscribed')
    const attic = await client(
      'mosquitto_pub',
      under.port,
      ...as,
      '-t',
      'home/attic/a',
      '-m',
      '1',
      '-q',
      '1',
      '--repeat',
      '1',
    ).ended
    // The embedded broker hangs up before it acknowledges; Mosquitto acknowledges to an MQTT 3.1.1 client what it drops.
    if (name === 'embedded broker') expect(attic.text).not.toContain('PUBACK')
    await client('mosquitto_pub', under.port, ...as, '-t', 'home/cellar/a', '-m', '1', '-q', '1').ended
    expect(lines((await reader.ended).text)).toEqual(['home/cellar/a'])
    await first.promise
    expect(heard).toEqual(['home/cellar/a'])
    const everything = client('mosquitto_sub', under.port, ...as, '-t', '#', '-C', '1', '-F', '%t')
    if (name === 'embedded broker') {
      expect((await everything.ended).text).toMatch(/128|denied/)
      expect(under.broker.stats().dropped).toMatchObject({ refused: 3, forbidden: 2 })
      return
    }
    // Mosquitto grants the filter and keeps back what the user may not read.
    await everything.says('Subscribed')
    under.broker.local.publish('attic/a', Buffer.from('1'), { qos: 1 })
    under.broker.local.publish('home/attic/a', Buffer.from('1'), { qos: 1 })
    expect(lines((await everything.ended).text)).toEqual(['home/attic/a'])
  })
})

describe.skipIf(!installed).each(lastingBrokers)("Debian's clients at the %s", (_name, start) => {
  it('find what was acknowledged while they were away, when the broker is back', async () => {
    using directory = temporaryDirectory()
    const first = await start(directory.path)
    const session = ['-i', 'away', '-c', '-q', '1', '-t', 'orders/#']
    await client('mosquitto_sub', first.port, ...session, '-E').ended
    for (const text of ['one', 'two']) {
      await client('mosquitto_pub', first.port, '-t', 'orders/a', '-m', text, '-q', '1').ended
    }
    await first.kill()
    const second = await start(directory.path)
    const { text } = await client('mosquitto_sub', second.port, ...session, '-C', '2', '-F', '%p').ended
    expect(lines(text)).toEqual(['one', 'two'])
    await second.kill()
  })
})
