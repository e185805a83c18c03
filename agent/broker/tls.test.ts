import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { temporaryDirectory } from '../test-helpers/plant.ts'
import { setPassword } from './access.ts'
import { connectClient, embedded } from './test-brokers.test-helper.ts'

/** A certificate that signs itself, or is signed by another. */
function makeCertificate(directory: string, name: string, authority?: string): { certFile: string; keyFile: string } {
  const certFile = join(directory, `${name}.pem`)
  const keyFile = join(directory, `${name}.key`)
  const signed =
    authority === undefined
      ? []
      : ['-CA', join(directory, `${authority}.pem`), '-CAkey', join(directory, `${authority}.key`)]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  const argv = ['req', '-x509', ...key, '-keyout', keyFile, '-out', certFile, ...names, ...signed]
  execFileSync('openssl', argv, { stdio: 'ignore' })
  return { certFile, keyFile }
}

it('speaks TLS, where a certificate of its authority is the user that it names', async () => {
  using directory = temporaryDirectory()
  const server = makeCertificate(directory.path, 'authority')
  const users = join(directory.path, 'mqtt-users.json')
  await setPassword(users, 'meter', 'unused', { subscribe: ['meters/#'] })
  const tls = { port: 0, ...server, caFile: server.certFile }
  await using broker = await embedded({ directory: directory.path, host: '127.0.0.1', tls, anonymousLoopback: false })
  const ca = readFileSync(server.certFile)
  const meter = makeCertificate(directory.path, 'meter', 'authority')
  const own = { ca, cert: readFileSync(meter.certFile), key: readFileSync(meter.keyFile), protocol: 'mqtts' } as const
  await using client = await connectClient(broker.tlsPort!, own)
  await client.mqtt.subscribeAsync('meters/a')
  broker.local.publish('meters/a', Buffer.from('1'))
  await client.received(1)
  await expect(client.mqtt.subscribeAsync('other')).rejects.toThrow()
  await expect(connectClient(broker.tlsPort!, { ca, protocol: 'mqtts' })).rejects.toThrow(/[Nn]ot authorized/)
})
