// An API server to try things on by hand: node test/golden/main.ts --data DIR [--port N]. Writes DIR/kubeconfig.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { kubeconfigFor } from '../../cloudcore/apiserver/kubeconfig.ts'
import { startApiServer } from '../../cloudcore/apiserver/server.ts'
import { makeAuthority } from './certificates.ts'

const { values } = parseArgs({ options: { data: { type: 'string' }, port: { type: 'string', default: '0' } } })
const dataDir = values.data
if (dataDir === undefined) {
  console.error('usage: node test/golden/main.ts --data DIR [--port N]')
  process.exit(2)
}
const authority = await makeAuthority()
const server = await authority.server()
const admin = await authority.client('admin', ['system:masters'])
const stop = new AbortController()
const api = await startApiServer({
  dataDir,
  port: Number(values.port),
  tls: { key: server.key, cert: server.cert, ca: authority.ca },
  signal: stop.signal,
  onError: (error) => console.error(error),
})
mkdirSync(dataDir, { recursive: true })
const kubeconfig = join(dataDir, 'kubeconfig')
writeFileSync(
  kubeconfig,
  kubeconfigFor({ url: api.url, caPem: authority.ca, certPem: admin.cert, keyPem: admin.key }),
  { mode: 0o600 },
)
console.log(`${api.url}\nexport KUBECONFIG=${kubeconfig}`)
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())
