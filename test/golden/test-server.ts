import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kubeconfigFor } from '../../cloudcore/apiserver/kubeconfig.ts'
import type { ApiServer, ApiServerOptions } from '../../cloudcore/apiserver/server.ts'
import { startApiServer } from '../../cloudcore/apiserver/server.ts'
import { ApiClient } from './api-client.ts'
import type { Identity, TestAuthority } from './certificates.ts'
import { makeAuthority } from './certificates.ts'

/** An API server of our own in a folder of its own, and an administrator who talks to it. */
export interface TestServer extends AsyncDisposable {
  readonly api: ApiServer
  readonly authority: TestAuthority
  readonly admin: ApiClient
  readonly dataDir: string
  /** Path of an administrator's kubeconfig. */
  readonly kubeconfig: string
  /** A client with another certificate. */
  as(user: string, groups?: readonly string[]): Promise<ApiClient>
}

export async function startTestServer(options: Partial<ApiServerOptions> = {}): Promise<TestServer> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'sluice-api-'))
  const authority = await makeAuthority()
  const identity = await authority.server()
  const api = await startApiServer({
    ...options,
    dataDir,
    tls: { key: identity.key, cert: identity.cert, ca: authority.ca },
  })
  const clients: ApiClient[] = []
  const clientOf = (who: Identity): ApiClient => {
    const client = new ApiClient(api.url, { ca: authority.ca, ...who })
    clients.push(client)
    return client
  }
  const admin = await authority.client('admin', ['system:masters'])
  const kubeconfig = join(dataDir, 'kubeconfig')
  writeFileSync(
    kubeconfig,
    kubeconfigFor({ url: api.url, caPem: authority.ca, certPem: admin.cert, keyPem: admin.key }),
    { mode: 0o600 },
  )
  return {
    api,
    authority,
    admin: clientOf(admin),
    dataDir,
    kubeconfig,
    as: async (user, groups = []) => clientOf(await authority.client(user, groups)),
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close()
      await api[Symbol.asyncDispose]()
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    },
  }
}
