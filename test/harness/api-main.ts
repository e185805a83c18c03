// The embedded API alone, as a process that may be killed and started again: its authority lives in its folder.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemClock } from '../../api/clock.ts'
import { kubeconfigFor } from '../../cloudcore/apiserver/kubeconfig.ts'
import { startApiServer } from '../../cloudcore/apiserver/server.ts'
import { CertificateAuthority, writeSecretFile } from '../../cloudcore/join/authority.ts'
import { ADMIN_GROUP } from '../../cloudcore/join/identity.ts'

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    port: { type: 'string', default: '0' },
    /** Revisions that a watch may lag behind. */
    keep: { type: 'string' },
  },
})
const data = values.data!
const authority = await CertificateAuthority.open(join(data, 'pki'), systemClock)
const serverFile = join(data, 'server.json')
if (!existsSync(serverFile)) {
  const server = await authority.issueServer('api', { dns: ['localhost'], ips: ['127.0.0.1'] }, 30)
  const admin = await authority.issueClient({ commonName: 'admin', organization: ADMIN_GROUP }, 30)
  writeSecretFile(serverFile, JSON.stringify({ server, admin }))
}
const { server, admin } = JSON.parse(readFileSync(serverFile, 'utf8'))
const api = await startApiServer({
  dataDir: join(data, 'api'),
  port: Number(values.port),
  tls: { key: server.keyPem, cert: server.certPem, ca: authority.caPem },
  ...(values.keep === undefined ? {} : { compaction: { keepRevisions: Number(values.keep) } }),
  onError: (error) => console.error(error),
})
const kubeconfig = join(data, 'kubeconfig')
const { certPem, keyPem } = admin
writeSecretFile(kubeconfig, kubeconfigFor({ url: api.url, caPem: authority.caPem, certPem, keyPem }))
const { port, url, setAside } = api
console.log(JSON.stringify({ event: 'ready', port, url, kubeconfig, setAside }))
process.once('SIGTERM', () => void api[Symbol.asyncDispose]().then(() => process.exit(0)))
