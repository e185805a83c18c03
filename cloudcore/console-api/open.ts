import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { Clock } from '../../api/clock.ts'
import { AuditLog } from '../../api/console/audit-log.ts'
import { ConsoleGate, type GateOptions } from '../../api/console/gate.ts'
import { type PodDoor, serveTerminal, TERMINAL_PROTOCOL } from '../../api/console/pod-streams.ts'
import { ConsoleSessions } from '../../api/console/sessions.ts'
import { toSluiceError } from '../../api/errors.ts'
import { MAX_STREAM_MESSAGE_BYTES } from '../../api/link/streams.ts'
import type { HubStore } from '../hub/store.ts'
import type { KubeClient } from '../kube/client.ts'
import type { KubeConfig } from '../kube/config.ts'
import { Cluster } from '../scheduler/cluster.ts'
import type { Scheduler } from '../scheduler/scheduler.ts'
import type { StreamBroker } from '../streams/broker.ts'
import type { Fleet } from '../twins/fleet.ts'
import { sameSecret } from './access.ts'
import { FleetRoutes } from './fleet-routes.ts'
import { GatewayQuestions } from './gateway-questions.ts'
import { kubeIdentity, roleOfPerson } from './kube-identity.ts'
import type { OidcConfig } from './oidc/config.ts'
import { OidcSignIn, type Person } from './oidc/oidc-sign-in.ts'
import { WorkRoutes } from './work-routes.ts'

export interface ConsoleSideOptions {
  readonly clock: Clock
  readonly client: KubeClient
  readonly kubeConfig: KubeConfig
  readonly fleet: Fleet
  readonly store: HubStore
  readonly version: string
  readonly place: string
  readonly consoleUrl: () => string
  readonly oidc: OidcConfig | undefined
  readonly auditFile: string
  readonly bearerToken: () => string
  readonly onTrouble: (message: string) => void
  readonly streams: StreamBroker
  readonly scheduler: () => Scheduler | undefined
  readonly stack: AsyncDisposableStack
}

/** Takes an upgrade that is the console's; says whether it was. */
export type ConsoleUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean

interface ConsoleSide {
  readonly gate: ConsoleGate
  readonly fleetRoutes: FleetRoutes
  readonly questions: GatewayQuestions
  readonly upgraded: ConsoleUpgrade
}

const TERMINALS = new WebSocketServer({
  ...{ noServer: true, perMessageDeflate: false, clientTracking: false },
  maxPayload: MAX_STREAM_MESSAGE_BYTES,
  handleProtocols: (offered) => offered.has(TERMINAL_PROTOCOL) && TERMINAL_PROTOCOL,
})

/** What the console of the fleet needs beside the API: sessions, audit log, and what signs in. */
export function openConsoleSide(options: ConsoleSideOptions): ConsoleSide {
  const { clock, client, fleet, store, consoleUrl, stack, streams } = options
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
    ...foreignOf(options),
  })
  const questions = stack.use(new GatewayQuestions({ clock, streams }))
  const cluster = () => options.scheduler()?.look() ?? new Cluster()
  const work = new WorkRoutes({ client, clock, streams, cluster })
  const fleetRoutes = new FleetRoutes({ client, fleet, store, audit, sessions, consoleUrl, questions, work })
  const door: PodDoor = {
    find: (namespace, name, signal) => work.find(namespace, name, signal),
    upgrade: (request, socket, head) =>
      new Promise((resolve) => TERMINALS.handleUpgrade(request, socket, head, resolve)),
  }
  const upgraded: ConsoleUpgrade = (request, socket, head) => {
    const served = serveTerminal(gate, door, request, socket, head)
    served?.catch((thrown: unknown) => options.onTrouble(`a terminal: ${toSluiceError(thrown).message}`))
    return served !== undefined
  }
  return { gate, fleetRoutes, questions, upgraded }
}

function foreignOf({ oidc, clock, client, consoleUrl }: ConsoleSideOptions): Pick<GateOptions, 'foreign'> {
  if (oidc === undefined) return {}
  const roleOf = (person: Person) => roleOfPerson(client, person)
  return { foreign: { by: new OidcSignIn({ config: oidc, clock, roleOf }), consoleUrl } }
}
