import type { Clock } from '../../api/clock.ts'
import { AuditLog } from '../../api/console/audit-log.ts'
import { ConsoleGate } from '../../api/console/gate.ts'
import { ConsoleSessions } from '../../api/console/sessions.ts'
import type { HubStore } from '../hub/store.ts'
import type { KubeClient } from '../kube/client.ts'
import type { KubeConfig } from '../kube/config.ts'
import type { Fleet } from '../twins/fleet.ts'
import { sameSecret } from './access.ts'
import { FleetRoutes } from './fleet-routes.ts'
import { kubeIdentity } from './kube-identity.ts'

export interface ConsoleSideOptions {
  readonly clock: Clock
  readonly client: KubeClient
  readonly kubeConfig: KubeConfig
  readonly fleet: Fleet
  readonly store: HubStore
  readonly version: string
  readonly place: string
  readonly consoleUrl: () => string
  readonly auditFile: string
  readonly bearerToken: () => string
  readonly onTrouble: (message: string) => void
  readonly stack: AsyncDisposableStack
}

/** What the console of the fleet needs beside the API: sessions, audit log, and what signs in. */
export function openConsoleSide(options: ConsoleSideOptions): { gate: ConsoleGate; fleetRoutes: FleetRoutes } {
  const { clock, client, fleet, store, consoleUrl, stack } = options
  const sessions = new ConsoleSessions(clock)
  const audit = stack.use(new AuditLog({ path: options.auditFile, onTrouble: options.onTrouble }))
  const gate = new ConsoleGate({
    ...{ clock, sessions, audit, place: options.place, version: options.version },
    kind: 'cloud',
    secure: true,
    // The prefix has browsers refuse it from anywhere but this very host over TLS.
    cookie: '__Host-sluice-console',
    signIn: async (token) =>
      sameSecret(token, options.bearerToken())
        ? { name: 'console', role: 'admin' }
        : kubeIdentity(options.kubeConfig, token),
  })
  return { gate, fleetRoutes: new FleetRoutes({ client, fleet, store, audit, sessions, consoleUrl }) }
}
