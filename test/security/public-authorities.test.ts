import { execFileSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { AGENT_FLAGS } from '../../agent/launch.ts'

const root = resolve(import.meta.dirname, '../..')

it('gives an agent the public authorities only when it is about to go to somebody else’s server', () => {
  const program = `
    import { X509Certificate } from 'node:crypto'
    import { getCACertificates, rootCertificates } from 'node:tls'
    import { trustPublicAuthorities } from ${JSON.stringify(join(root, 'api/public-authorities.ts'))}
    const print = (pem) => new X509Certificate(pem).fingerprint256
    const trusted = () => new Set(getCACertificates('default').map(print))
    const before = trusted().size
    trustPublicAuthorities()
    const after = trusted()
    const missing = rootCertificates.filter((one) => !after.has(print(one)))
    console.log(JSON.stringify([before, rootCertificates.length, missing.length]))`
  const { NODE_EXTRA_CA_CERTS: _, NODE_OPTIONS: __, SSL_CERT_FILE: ___, SSL_CERT_DIR: ____, ...env } = process.env
  const argv = [...AGENT_FLAGS, '--input-type=module', '--eval', program]
  const [before, known, missing] = JSON.parse(execFileSync(process.execPath, argv, { env, encoding: 'utf8' }))
  expect(known).toBeGreaterThan(50)
  expect(before).toBeLessThan(known)
  expect(missing).toBe(0)
})

it('is asked for by everything in the agent that goes to a server under a name of somebody’s choice', () => {
  const sources = globSync(['agent/**/*.ts', 'mappers/**/*.ts'], { cwd: root })
  const reachingOut = sources.filter(
    (file) =>
      !/\.test(-helper)?\.ts$/.test(file) &&
      !file.includes('testing') &&
      /\bmqtt\.connect\(|globalThis\.fetch|\bawait fetch\(url/.test(readFileSync(join(root, file), 'utf8')),
  )
  expect(reachingOut.length).toBeGreaterThanOrEqual(5)
  const without = reachingOut.filter(
    (file) => !/\btrustPublicAuthorities\(\)/.test(readFileSync(join(root, file), 'utf8')),
  )
  expect(without).toEqual([])
})
