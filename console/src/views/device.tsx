import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { mayActAs } from '../../../api/console/roles.ts'
import type { ModelProperty } from '../../../api/resources.ts'
import type { DeviceView, HistoryPoint, TwinView } from '../../../api/views.ts'
import { Age, Badge, Facts, Loading, Panel, WhyField } from '../parts/bits.tsx'
import { Chart, pointAt } from '../parts/chart.tsx'
import { Widget } from '../parts/widget.tsx'
import { linkTo, type Signed } from '../route.ts'
import { useStore } from '../store.ts'
import { figure, percent, t } from '../words.ts'

export function DevicePage({ session, id }: { readonly session: Signed; readonly id: string }) {
  const known = useStore()
  const device = known.devices.get(id)
  const [chosen, setChosen] = useState<string | undefined>(undefined)
  const [why, setWhy] = useState('')
  if (device === undefined) return known.loaded ? <p class="pad">{t('notFound', { name: id })}</p> : <Loading />
  const spec = known.modelOf(device)?.spec
  const properties = new Map(spec?.properties.map((property) => [property.name, property]))
  const writable = device.twins.filter(({ access }) => access !== 'read')
  const readable = device.twins.filter(({ access }) => access === 'read')
  const mayWrite = mayActAs(session.role, 'operator')
  const charted =
    device.twins.find(({ name }) => name === chosen) ?? readable.find((twin) => drawable(twin, properties))
  const widget = (twin: TwinView) => (
    <Widget
      key={twin.name}
      {...{ device, twin, mayWrite, why }}
      me={session.name}
      property={properties.get(twin.name)}
      charted={twin === charted}
      onChart={drawable(twin, properties) ? () => setChosen(twin.name) : undefined}
    />
  )
  return (
    <>
      <div class="title">
        <h1>{device.name}</h1>
        <Badge state={device.state} title={device.reason} />
        <span class="grow" />
        <a class="button" href={linkTo('plan', id)}>
          {t('plan')}
        </a>
      </div>
      {device.reason === undefined ? null : (
        <p class="failure" role="status">
          {device.reason}
        </p>
      )}
      <DeviceFacts device={device} vendor={spec?.vendor} description={spec?.description} />
      {charted === undefined ? null : (
        <Chart
          key={charted.name}
          device={id}
          property={charted.name}
          unit={charted.unit}
          steps={properties.get(charted.name)?.type === 'bool'}
          standing={standingOf(charted)}
        />
      )}
      {writable.length === 0 ? null : (
        <Panel
          title={t('settings')}
          aside={mayWrite ? <WhyField why={why} onInput={setWhy} /> : <span class="muted small">{t('noWrites')}</span>}
        >
          <div class="widgets">{writable.map(widget)}</div>
        </Panel>
      )}
      {readable.length === 0 ? null : (
        <Panel title={t('readings')}>
          <div class="widgets">{readable.map(widget)}</div>
        </Panel>
      )}
    </>
  )
}

function DeviceFacts({
  device,
  vendor,
  description,
}: {
  readonly device: DeviceView
  readonly vendor: string | undefined
  readonly description: string | undefined
}) {
  const { link, battery, gateway } = device
  const items: [string, ComponentChildren][] = [
    [t('model'), [device.model, vendor, description].filter((each) => each !== undefined).join(' · ')],
  ]
  if (gateway !== undefined) items.push([t('gateway'), <a href={linkTo('gateway', gateway)}>{gateway}</a>])
  items.push([t('lastSeen'), <Age at={device.lastSeen} />])
  if (device.staleSince !== undefined) items.push([t('staleSince'), <Age at={device.staleSince} />])
  if (link?.latencyMs !== undefined) items.push([t('latency'), figure(link.latencyMs, 'ms')])
  if (link?.errorRate !== undefined) items.push([t('errorRate'), percent(link.errorRate, 1)])
  if (link?.rssiDbm !== undefined) items.push([t('signal'), figure(link.rssiDbm, 'dBm', 0)])
  if (link?.snrDb !== undefined) items.push([t('snr'), figure(link.snrDb, 'dB')])
  if (link?.quality !== undefined) items.push([t('quality'), figure(link.quality, '', 1)])
  if (battery?.percent !== undefined) items.push([t('battery'), figure(battery.percent, '%', 0)])
  return <Facts items={items} />
}

function standingOf({ at, value, quality }: TwinView): HistoryPoint | undefined {
  const point = at === undefined ? undefined : pointAt({ at, value, quality })
  return point?.[1] === null ? undefined : point
}

function drawable(twin: TwinView, properties: ReadonlyMap<string, ModelProperty>): boolean {
  const type = properties.get(twin.name)?.type
  return type === 'int' || type === 'float' || type === 'bool'
}
