import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SluiceError } from '../../api/errors.ts'
import { inClusterConfig, loadKubeconfig } from './config.ts'

const directory = mkdtempSync(join(tmpdir(), 'sluice-kubeconfig-'))
const write = (text: string) => {
  const path = join(directory, 'config')
  writeFileSync(path, text)
  return path
}
const base64 = (text: string) => Buffer.from(text).toString('base64')
const config = (user: object, cluster: object = {}) =>
  JSON.stringify({
    'current-context': 'here',
    contexts: [{ name: 'here', context: { cluster: 'c', user: 'u', namespace: 'plant' } }],
    clusters: [{ name: 'c', cluster: { server: 'https://api:6443/', ...cluster } }],
    users: [{ name: 'u', user }],
  })

describe('reading a kubeconfig', () => {
  it('takes certificates from inside and from files beside it', () => {
    writeFileSync(join(directory, 'ca.crt'), 'CA')
    const user = { 'client-certificate-data': base64('CERT'), 'client-key-data': base64('KEY') }
    expect(loadKubeconfig(write(config(user, { 'certificate-authority': 'ca.crt' })))).toEqual({
      server: 'https://api:6443',
      namespace: 'plant',
      caPem: 'CA',
      certPem: 'CERT',
      keyPem: 'KEY',
    })
  })

  it('reads a token file anew each time, because tokens rotate', () => {
    writeFileSync(join(directory, 'token'), 'one\n')
    const { token } = loadKubeconfig(write(config({ tokenFile: 'token' })))
    expect(token?.()).toBe('one')
    writeFileSync(join(directory, 'token'), 'two\n')
    expect(token?.()).toBe('two')
  })

  it('refuses what it cannot use, with a reason', () => {
    expect(() => loadKubeconfig(join(directory, 'nothing'))).toThrowError(/cannot read kubeconfig/)
    expect(() => loadKubeconfig(write(config({ exec: { command: 'aws' } })))).toThrowError(/credential plugin/)
    expect(() => loadKubeconfig(write(config({ 'client-key': 'gone' })))).toThrowError(/'gone', which cannot be read/)
    expect(() => loadKubeconfig(write(config({})), 'there')).toThrowError(/no context 'there'/)
    expect(() => inClusterConfig({}, directory)).toThrowError(/not run inside a cluster/)
  })

  it('answers any text with a typed error', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(() => loadKubeconfig(write(text))).toThrowError(SluiceError)
      }),
    )
  })
})
