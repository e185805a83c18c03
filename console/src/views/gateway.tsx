import type { ComponentChildren } from 'preact'
import type { GatewayStatus } from '../../../api/resources.ts'
import type { LinkStats, NoticeView } from '../../../api/views.ts'
import { Age, Badge, Bar, Facts, Loading, Panel } from '../parts/bits.tsx'
import { gatewayPath } from '../paths.ts'
import { linkTo, type Signed } from '../route.ts'
import { useStore } from '../store.ts'
import { useAnswer } from '../use-answer.ts'
import { bytes, count, energy, figure, number, percent, span, t, watts, word } from '../words.ts'
import { EnergyPanels } from './energy.tsx'
import { alarmsOf, DeviceTable } from './fleet.tsx'
import { Pods } from './pods.tsx'

export function GatewayPage({ session, id }: { readonly session: Signed; readonly id: string }) {
  const { gateways, devices, loaded } = useStore()
  const gateway = gateways.get(id)
  if (gateway === undefined) return loaded ? <p class="pad">{t('notFound', { name: id })}</p> : <Loading />
  const { status, state } = gateway
  const alarms = alarmsOf(gateway)
  // What only the gateway knows cannot be asked of one that is away.
  const asked = session.kind === 'gateway' || state === 'online'
  const own = [...devices.values()].filter((device) => session.kind === 'gateway' || device.gateway === id)
  return (
    <>
      <div class="title">
        <h1>{id}</h1>
        <Badge state={state} />
        {state === 'online' ? null : <Age at={status.lastSeen} />}
      </div>
      {alarms.length === 0 ? null : (
        <ul class="alarms" aria-label={t('alarms')}>
          {alarms.map((alarm) => (
            <li key={alarm}>{alarm}</li>
          ))}
        </ul>
      )}
      <Vitals status={status} />
      <div class="columns">
        <Networks status={status} />
        {asked ? <Buses {...{ session }} gateway={id} /> : null}
      </div>
      {asked ? <EnergyPanels {...{ session }} gateway={id} /> : null}
      <Pods {...{ session }} gateway={id} />
      <Panel title={t('devices')}>
        <DeviceTable devices={own} gateway={false} />
      </Panel>
      {asked ? <Notices {...{ session }} gateway={id} /> : null}
    </>
  )
}

interface Asked {
  readonly session: Signed
  readonly gateway: string
}

function Vitals({ status }: { readonly status: GatewayStatus }) {
  const { power, energy: used, battery, thermal, link, outbox, agent } = status
  const items: [string, ComponentChildren][] = []
  const origin = (of: { source?: string; by?: string; errorPercent?: number } | undefined) =>
    of?.source === undefined ? null : (
      <span class="muted small" title={of.by}>
        {' '}
        {word(of.source)}
        {of.errorPercent === undefined ? '' : ` ±\u202f${number(of.errorPercent, 1)}\u202f%`}
      </span>
    )
  if (power !== undefined)
    items.push([
      t('power'),
      <>
        {watts(power.watts)}
        {origin(power)}
      </>,
    ])
  if (used?.todayJ !== undefined) items.push([t('energyToday'), energy(used.todayJ)])
  if (battery !== undefined) {
    const left = battery.timeToEmpty?.seconds
    items.push([
      t('battery'),
      <>
        {figure(battery.percent, '%', 0)}{' '}
        <span class="muted small">
          {word(battery.state)}
          {left === undefined ? '' : `, ${t('left', { time: span(left * 1000) })}`}
        </span>
      </>,
    ])
  }
  if (thermal !== undefined)
    items.push([
      t('temperature'),
      <>
        {figure(thermal.celsius, '°C')}
        {thermal.throttled ? <span class="alarm"> {t('throttled')}</span> : null}
      </>,
    ])
  if (link?.roundTripMs !== undefined) items.push([t('roundTrip'), figure(link.roundTripMs, 'ms')])
  if (link?.quality !== undefined)
    items.push([
      t('link'),
      <>
        {percent(link.quality)}
        {link.lossRatio === undefined || link.lossRatio === 0 ? null : (
          <span class="muted small"> −{percent(link.lossRatio, 1)}</span>
        )}
      </>,
    ])
  if (outbox !== undefined) items.push([t('outbox'), bytes(outbox.bytes)])
  if (agent?.rssBytes !== undefined) items.push([t('agentMemory'), bytes(agent.rssBytes)])
  if (agent?.uptimeS !== undefined) items.push([t('uptime'), span(agent.uptimeS * 1000)])
  if (status.agentVersion !== undefined) items.push([t('version'), status.agentVersion])
  return <Facts items={items} />
}

function Networks({ status }: { readonly status: GatewayStatus }) {
  const networks = status.networks ?? []
  if (networks.length === 0) return null
  return (
    <Panel title={t('networks')}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t('name')}</th>
            <th scope="col">{t('state')}</th>
            <th scope="col" class="num">
              {t('signal')}
            </th>
            <th scope="col" class="num">
              {t('quality')}
            </th>
          </tr>
        </thead>
        <tbody>
          {networks.map((network) => (
            <tr key={network.name}>
              <td>
                {network.name}{' '}
                <span class="muted small">
                  {network.kind}
                  {network.toHub === true ? ' → hub' : ''}
                </span>
              </td>
              <td>
                <Badge state={network.up ? 'online' : 'offline'} />
              </td>
              <td class="num">{figure(network.signalDbm, 'dBm', 0)}</td>
              <td class="num">{percent(network.quality)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  )
}

/** Lines and sockets of this gateway, with how busy they are. */
function Buses({ session, gateway }: Asked) {
  const { value } = useAnswer<{ items: LinkStats[] }>(gatewayPath(session, gateway, 'links'), 2_000)
  const links = value?.items ?? []
  if (links.length === 0) return null
  return (
    <Panel title={t('buses')} aside={<span class="muted small">{t('ofLimit')}</span>}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t('name')}</th>
            <th scope="col">{t('load')}</th>
            <th scope="col" class="num">
              {t('latency')}
            </th>
            <th scope="col" class="num">
              {t('errorRate')}
            </th>
          </tr>
        </thead>
        <tbody>
          {links.map((link) => {
            const errors = Object.values(link.errors).reduce((sum, each) => sum + each, 0)
            return (
              <tr key={link.link}>
                <td>
                  <span class="path">{link.link}</span>{' '}
                  <span class="muted small">
                    {link.protocol} · {count('devices', link.devices)}
                  </span>
                  {link.state === 'down' ? <p class="reason">{link.reason}</p> : null}
                </td>
                <td>
                  <Bar share={link.use} label={percent(link.use, 1)} />
                </td>
                <td class="num">{figure(link.turnaroundMs, 'ms')}</td>
                <td
                  class="num"
                  title={Object.entries(link.errors)
                    .map(([name, count]) => `${name}: ${count}`)
                    .join('\n')}
                >
                  {number(errors)}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </Panel>
  )
}

function Notices({ session, gateway }: Asked) {
  const { devices } = useStore(1_000)
  const { value } = useAnswer<{ items: NoticeView[] }>(gatewayPath(session, gateway, 'notices'), 5_000)
  const items = value?.items ?? []
  return (
    <Panel title={t('notices')}>
      {items.length === 0 ? (
        <p class="muted">{t('noNotices')}</p>
      ) : (
        <ul class="notices">
          {items.slice(0, 50).map((notice) => (
            <li
              key={`${notice.about}${notice.reason}${notice.firstAt}`}
              class={notice.type === 'Warning' ? 'warn' : ''}
            >
              <Age at={notice.lastAt} />{' '}
              <b>
                {notice.about === 'gateway' ? (
                  t('gateway')
                ) : devices.has(notice.about) ? (
                  <a href={linkTo('device', notice.about)}>{notice.about}</a>
                ) : (
                  notice.about
                )}
              </b>{' '}
              <span>{notice.message}</span>
              {notice.count > 1 ? <span class="muted small"> {t('times', { n: notice.count })}</span> : null}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  )
}
