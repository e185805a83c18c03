import type { ComponentType } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { mayActAs } from '../../api/console/roles.ts'
import { call, type Door, setCsrf, whenSignedOut } from './http.ts'
import { isHeld, leave } from './leave.ts'
import { Failure, Loading, useTick } from './parts/bits.tsx'
import { linkTo, type Page, type Route, routeOf, type Signed } from './route.ts'
import { type Scope, store, useStore } from './store.ts'
import { DevicePage } from './views/device.tsx'
import { DevicesPage, FleetPage } from './views/fleet.tsx'
import { GatewayPage } from './views/gateway.tsx'
import { rememberLeft, SignIn } from './views/sign-in.tsx'
import { span, switchLanguage, t, word } from './words.ts'

export interface PageProps {
  readonly session: Signed
  readonly id: string
}

/** What is not needed to look at devices is loaded when it is. */
const LATER: Partial<Record<Page, () => Promise<ComponentType<PageProps>>>> = {
  plan: async () => (await import('./views/plan.tsx')).PlanPage,
  discovery: async () => (await import('./views/discovery.tsx')).DiscoveryPage,
  models: async () => (await import('./views/models.tsx')).ModelsPage,
  firmware: async () => (await import('./views/firmware.tsx')).FirmwarePage,
  offload: async () => (await import('./views/offload.tsx')).OffloadPage,
  join: async () => (await import('./views/join.tsx')).JoinPage,
  audit: async () => (await import('./views/audit.tsx')).AuditPage,
}

export function App() {
  const [door, setDoor] = useState<Door | undefined>(undefined)
  const [error, setError] = useState<unknown>(undefined)
  const [ended, setEnded] = useState(false)
  const route = useRoute()
  useEffect(() => {
    const ask = () => {
      store.stop()
      call<Door>('/v1/session').then(setDoor, setError)
    }
    whenSignedOut(() => {
      setEnded(true)
      ask()
    })
    ask()
  }, [])
  if (door === undefined)
    return <main class="alone">{error === undefined ? <Loading /> : <Failure error={error} />}</main>
  const { name, role, csrf } = door
  if (name === undefined || role === undefined || csrf === undefined) {
    const code = route.page === 'sign-in' ? route.id : ''
    return <SignIn {...{ door, ended, code }} onSigned={setDoor} />
  }
  setCsrf(csrf)
  const left = (after: Door) => {
    setEnded(false)
    setDoor(after)
  }
  return <House session={{ ...door, name, role, csrf }} route={route} onLeave={left} />
}

function House({
  session,
  route,
  onLeave,
}: {
  readonly session: Signed
  readonly route: Route
  readonly onLeave: (door: Door) => void
}) {
  const isGateway = session.kind === 'gateway'
  const home: Route = isGateway ? { page: 'gateway', id: session.place } : { page: 'fleet', id: '' }
  const at = route.page === 'home' || route.page === 'sign-in' ? home : route
  const { connection } = useStore()
  const main = useRef<HTMLElement>(null)
  store.start(isGateway)
  // Before the parts of the view are drawn, which show what there is of it, and ask for theirs: a browser talks to one server
  // over six connections only.
  useMemo(() => store.look(scopeOf(at)), [at.page, at.id])
  useEffect(() => {
    document.title = [at.id === '' ? word(at.page) : at.id, session.place, 'Sluice'].join(' · ')
    main.current?.focus({ preventScroll: true })
    scrollTo(0, 0)
    // On a phone the views are more than fit: the one that is open is to be seen.
    document.querySelector('.top nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  }, [at.page, at.id])
  const signOut = async () => {
    await call('/v1/session', { method: 'DELETE' }).catch(() => {})
    store.stop()
    location.hash = '#/'
    const { kind, place, version } = session
    rememberLeft()
    // Asked anew: how one may sign in here is part of the answer.
    onLeave(await call<Door>('/v1/session').catch(() => ({ kind, place, version })))
  }
  return (
    <div class={`house${connection.state === 'lost' ? ' lost' : ''}`}>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        {t('skip')}
      </button>
      <header class="top">
        <a class="brand" href="#/">
          Sluice <span>{session.place}</span>
        </a>
        <nav aria-label={t('navigation')}>
          {pagesOf(session).map(([page, title]) => (
            <a
              key={page}
              href={linkTo(page, page === 'gateway' ? session.place : '')}
              aria-current={isCurrent(page, at) ? 'page' : undefined}
            >
              {title}
            </a>
          ))}
        </nav>
        <div class="who">
          <ConnectionMark />
          <span class="muted small">
            {session.name} · {word(session.role)}
          </span>
          <button type="button" class="quiet" lang={t('language') === 'Deutsch' ? 'de' : 'en'} onClick={switchLanguage}>
            {t('language')}
          </button>
          <button type="button" class="quiet" onClick={() => leave(() => void signOut())}>
            {t('signOut')}
          </button>
        </div>
      </header>
      <LostBanner />
      <main id="content" tabIndex={-1} ref={main}>
        <View session={session} route={at} />
      </main>
    </div>
  )
}

function View({ session, route }: { readonly session: Signed; readonly route: Route }) {
  const props = { session, id: route.id, key: `${route.page}/${route.id}` }
  const later = useLater(route.page)
  if (route.page === 'fleet') return <FleetPage {...props} />
  if (route.page === 'devices') return <DevicesPage {...props} />
  if (route.page === 'gateway') return <GatewayPage {...props} />
  if (route.page === 'device') return <DevicePage {...props} />
  if (later === undefined) return <Loading />
  const Later = later
  return <Later {...props} />
}

function useLater(page: Page): ComponentType<PageProps> | undefined {
  const [loaded, setLoaded] = useState<{ readonly page: Page; readonly view: ComponentType<PageProps> } | undefined>(
    undefined,
  )
  useEffect(() => {
    let wanted = true
    void LATER[page]?.().then((view) => wanted && setLoaded({ page, view }))
    return () => {
      wanted = false
    }
  }, [page])
  return loaded?.page === page ? loaded.view : undefined
}

function ConnectionMark() {
  const { connection } = useStore()
  const live = connection.state === 'live'
  return (
    <span class={`badge ${live ? 'ok' : 'wait'}`}>
      <span aria-hidden="true">{live ? '●' : '◌'}</span> {live ? t('live') : t('opening')}
    </span>
  )
}

function LostBanner() {
  const { connection } = useStore()
  useTick(1_000)
  return (
    <div class="banner" role="alert">
      {connection.state === 'lost' ? t('lost', { age: span(Date.now() - connection.sinceMs) }) : null}
    </div>
  )
}

function pagesOf({ kind, role }: Signed): readonly (readonly [Page, string])[] {
  const audit: readonly (readonly [Page, string])[] = mayActAs(role, 'operator') ? [['audit', t('audit')]] : []
  if (kind === 'gateway')
    return [['gateway', t('gateway')], ['devices', t('devices')], ['discovery', t('discovery')], ...audit]
  const admin: readonly (readonly [Page, string])[] = mayActAs(role, 'admin') ? [['join', t('join')]] : []
  return [
    ['fleet', t('fleet')],
    ['devices', t('devices')],
    ['discovery', t('discovery')],
    ['offload', t('offload')],
    ['firmware', t('firmware')],
    ['models', t('models')],
    ...admin,
    ...audit,
  ]
}

const PARENT: Partial<Record<Page, Page>> = { device: 'devices', plan: 'devices' }

const isCurrent = (page: Page, at: Route): boolean =>
  page === at.page || PARENT[at.page] === page || (page === 'fleet' && at.page === 'gateway')

function scopeOf({ page, id }: Route): Scope {
  if (page === 'gateway') return { kind: 'gateway', name: id }
  if (page === 'device' || page === 'plan') return { kind: 'device', key: id }
  return page === 'devices' || page === 'firmware' || page === 'models' ? { kind: 'devices' } : { kind: 'fleet' }
}

function useRoute(): Route {
  const [route, setRoute] = useState(() => routeOf(location.hash))
  useEffect(() => {
    let shown = location.hash
    const changed = () => {
      const wanted = location.hash
      if (wanted !== shown && isHeld()) {
        // It stays until whoever is asked agrees.
        history.replaceState(null, '', shown === '' ? '#/' : shown)
        leave(() => {
          location.hash = wanted
        })
        return
      }
      shown = wanted
      setRoute(routeOf(wanted))
    }
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return route
}
