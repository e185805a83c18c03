import type { ComponentChildren } from 'preact'
import { useMemo } from 'preact/hooks'
import { objectKey } from '../../../api/resources.ts'
import { NODE_CONDITIONS, NODE_PRESSURES } from '../../../api/schema/node-conditions.ts'
import type { DeviceView, GatewayView, TwinView } from '../../../api/views.ts'
import { Age, Badge, Loading } from '../parts/bits.tsx'
import { type Column, VirtualTable } from '../parts/virtual-table.tsx'
import { linkTo, type Signed } from '../route.ts'
import { useStore } from '../store.ts'
import { figure, percent, plain, t, watts, withUnit, word } from '../words.ts'

const NEVER = -1
const TABLE_MS = 250
/** These conditions are bad when they hold, all others when they do not. */
const TROUBLE: ReadonlySet<string> = new Set([...NODE_CONDITIONS, ...NODE_PRESSURES])

/** What a person should look at: conditions that are not as they should be, and devices that are away. */
export function alarmsOf({ status, state }: GatewayView): string[] {
  const offline = status.devices?.offline ?? 0
  const conditions = (status.conditions ?? []).filter(({ type, status: holds }) =>
    TROUBLE.has(type) ? holds === 'True' : holds === 'False',
  )
  return [
    ...(state === 'offline' ? [t('offline')] : []),
    ...conditions.map(({ type, reason }) => `${type}${reason === '' ? '' : `: ${reason}`}`),
    ...(offline > 0 ? [`${offline} × ${t('offline')}`] : []),
    ...((status.outbox?.droppedValues ?? 0) > 0 ? [`${status.outbox?.droppedValues} drops`] : []),
  ]
}

const GATEWAY_COLUMNS: readonly Column<GatewayView>[] = [
  { id: 'name', title: t('gateway'), cell: ({ name }) => name, sort: ({ name }) => name },
  { id: 'state', title: t('state'), cell: ({ state }) => <Badge state={state} />, sort: ({ state }) => state },
  {
    id: 'devices',
    title: t('devices'),
    cell: ({ status: { devices } }) =>
      devices === undefined ? '–' : t('onlineOf', { n: devices.online, all: devices.total }),
    sort: ({ status }) => status.devices?.online ?? NEVER,
  },
  {
    id: 'battery',
    title: t('battery'),
    cell: ({ status: { battery } }) =>
      battery?.percent === undefined
        ? '–'
        : `${figure(battery.percent, '%', 0)}${battery.state === 'charging' ? ' ↑' : ''}`,
    sort: ({ status }) => status.battery?.percent ?? NEVER,
    numeric: true,
  },
  {
    id: 'power',
    title: t('power'),
    cell: ({ status: { power } }) =>
      power === undefined ? '–' : `${power.source === 'estimated' ? '~' : ''}${watts(power.watts)}`,
    sort: ({ status }) => status.power?.watts ?? NEVER,
    numeric: true,
  },
  {
    id: 'link',
    title: t('link'),
    cell: ({ status: { link } }) =>
      link?.quality !== undefined ? percent(link.quality) : figure(link?.roundTripMs, 'ms'),
    sort: ({ status: { link } }) => link?.quality ?? NEVER,
    numeric: true,
  },
  {
    id: 'alarms',
    title: t('alarms'),
    cell: (gateway) => {
      const alarms = alarmsOf(gateway)
      return alarms.length === 0 ? (
        <span class="muted">{t('none')}</span>
      ) : (
        <span class="alarm" title={alarms.join('\n')}>
          {alarms.join(', ')}
        </span>
      )
    },
    sort: (gateway) => alarmsOf(gateway).length,
  },
  {
    id: 'seen',
    title: t('lastSeen'),
    cell: ({ status, state }) =>
      state === 'online' ? <span class="muted">{t('now')}</span> : <Age at={status.lastSeen} />,
    sort: ({ status }) => status.lastSeen ?? '',
  },
]

export function FleetPage(_: { readonly session: Signed }) {
  const { gateways, loaded } = useStore(TABLE_MS)
  const rows = useMemo(() => [...gateways.values()], [gateways])
  const online = rows.filter(({ state }) => state === 'online').length
  return (
    <div class="full">
      <div class="title">
        <h1>{t('fleet')}</h1>
        <span class="muted">{loaded ? t('onlineOf', { n: online, all: rows.length }) : ''}</span>
      </div>
      {!loaded ? (
        <Loading />
      ) : (
        <VirtualTable
          label={t('gateways')}
          rows={rows}
          columns={GATEWAY_COLUMNS}
          keyOf={({ name }) => name}
          hrefOf={({ name }) => linkTo('gateway', name)}
          text={(gateway) => `${gateway.name} ${gateway.state} ${word(gateway.state)} ${alarmsOf(gateway).join(' ')}`}
          empty={t('noGateways')}
          dull={({ state }) => state !== 'online'}
          narrowLines={3}
        />
      )}
    </div>
  )
}

/** What was known last stays, dull, when it holds no more; the widget of the device says why. */
const twinWords = ({ name, value, unit, quality, reason }: TwinView): ComponentChildren => {
  const words = `${name} ${withUnit(plain(value), unit)}`
  if (quality === undefined || quality === 'good' || quality === 'uncertain') return words
  return (
    <span class="muted" title={reason ?? quality}>
      {words} ?
    </span>
  )
}

/** The first values, those that are telling first. */
const summary = ({ twins }: DeviceView): ComponentChildren =>
  twins
    .filter(({ value }) => value !== undefined && value !== null)
    .slice(0, 4)
    .flatMap((twin, index) => (index === 0 ? [twinWords(twin)] : [' · ', twinWords(twin)]))

const DEVICE_COLUMNS: readonly Column<DeviceView>[] = [
  {
    id: 'name',
    title: t('device'),
    cell: ({ name, namespace }) => (namespace === 'default' ? name : `${namespace}/${name}`),
    sort: ({ namespace, name }) => `${namespace}/${name}`,
  },
  {
    id: 'state',
    title: t('state'),
    cell: ({ state, reason }) => <Badge state={state} title={reason} />,
    sort: ({ state }) => state,
  },
  { id: 'model', title: t('model'), cell: ({ model }) => model, sort: ({ model }) => model },
  { id: 'gw', title: t('gateway'), cell: ({ gateway }) => gateway ?? '–', sort: ({ gateway }) => gateway ?? '' },
  { id: 'values', title: t('values'), cell: summary },
  {
    id: 'battery',
    title: t('battery'),
    cell: ({ battery }) => figure(battery?.percent, '%', 0),
    sort: ({ battery }) => battery?.percent ?? NEVER,
    numeric: true,
  },
  {
    id: 'seen',
    title: t('lastSeen'),
    cell: ({ lastSeen, staleSince }) => <Age at={lastSeen ?? staleSince} />,
    sort: ({ lastSeen }) => lastSeen ?? '',
  },
]

/** Of one gateway. */
const ITS_DEVICE_COLUMNS = DEVICE_COLUMNS.filter(({ id }) => id !== 'gw')

export function DeviceTable({
  devices,
  gateway,
  total,
}: {
  readonly devices: readonly DeviceView[]
  readonly gateway: boolean
  readonly total?: number | undefined
}) {
  return (
    <VirtualTable
      label={t('devices')}
      rows={devices}
      total={total}
      columns={gateway ? DEVICE_COLUMNS : ITS_DEVICE_COLUMNS}
      keyOf={({ namespace, name }) => objectKey(namespace, name)}
      hrefOf={({ namespace, name }) => linkTo('device', objectKey(namespace, name))}
      text={({ namespace, name, model, state, gateway: by }) =>
        `${namespace}/${name} ${model} ${state} ${word(state)} ${by ?? ''}`
      }
      empty={t('noDevices')}
      dull={({ state }) => state !== 'online'}
    />
  )
}

export function DevicesPage({ session }: { readonly session: Signed }) {
  const { devices, loaded, total } = useStore(TABLE_MS)
  const rows = useMemo(() => [...devices.values()], [devices])
  return (
    <div class="full">
      <div class="title">
        <h1>{t('devices')}</h1>
        <span class="muted">
          {loaded && total === undefined
            ? t('onlineOf', { n: rows.filter(({ state }) => state === 'online').length, all: rows.length })
            : ''}
        </span>
      </div>
      {loaded ? <DeviceTable devices={rows} gateway={session.kind === 'cloud'} total={total} /> : <Loading />}
    </div>
  )
}
