import type { PlanExplanation } from '../../../api/views.ts'
import type { PageProps } from '../app.tsx'
import { Bar, Failure, Loading, Panel } from '../parts/bits.tsx'
import { type Cell, registerMap, type TableMap } from '../register-map.ts'
import { linkTo } from '../route.ts'
import { useStore } from '../store.ts'
import { useAnswer } from '../use-answer.ts'
import { figure, percent, span, t } from '../words.ts'

/** What is read together from a device, drawn on its register map. */
export function PlanPage({ session, id }: PageProps) {
  const known = useStore()
  const device = known.devices.get(id)
  const path = session.kind === 'gateway' ? `/v1/plan/${id.split('/').map(encodeURIComponent).join('/')}` : undefined
  const { value: plan, error } = useAnswer<PlanExplanation>(path, 5_000)
  if (session.kind === 'cloud') return <p class="pad">{t('planOnly')}</p>
  const properties = device === undefined ? [] : (known.modelOf(device)?.spec.properties ?? [])
  return (
    <>
      <div class="title">
        <h1>{t('plan')}</h1>
        <a href={linkTo('device', id)}>{id}</a>
      </div>
      <Failure error={error} />
      {plan === undefined ? (
        error === undefined ? (
          <Loading />
        ) : null
      ) : (
        <>
          <Load plan={plan} />
          {plan.requests.length === 0 ? <p class="muted">{t('noPlan')}</p> : null}
          {registerMap(plan.requests, properties).map((map) => (
            <Registers key={map.table} map={map} />
          ))}
          <Requests plan={plan} />
          {plan.notes.length === 0 ? null : (
            <Panel title={t('notices')}>
              <ul class="notices">
                {plan.notes.map((note) => (
                  <li key={note}>{note}</li>
                ))}
              </ul>
            </Panel>
          )}
        </>
      )}
    </>
  )
}

function Load({ plan }: { readonly plan: PlanExplanation }) {
  const scale = Math.max(1, plan.naiveLoad)
  return (
    <Panel title={`${t('load')}: ${plan.link}`}>
      <div class="loads">
        <span>{t('planned')}</span>
        <Bar share={plan.load / scale} label={percent(plan.load, 1)} />
        <span>{t('naive')}</span>
        <Bar share={plan.naiveLoad / scale} label={percent(plan.naiveLoad, 1)} warnAt={2} />
      </div>
    </Panel>
  )
}

const TONES = 6

function Registers({ map }: { readonly map: TableMap }) {
  return (
    <Panel
      title={`${t('registers')}: ${map.table}`}
      aside={
        <span class="muted small legend">
          <span class="swatch tone-0" aria-hidden="true" /> {t('used')}{' '}
          <span class="swatch filler" aria-hidden="true" /> {t('filler')}
        </span>
      }
    >
      <div class="registers" role="table" aria-label={`${t('registers')}: ${map.table}`} tabIndex={0}>
        {map.rows.map(({ start, cells }) => (
          <div class="registers-row" role="row" key={start}>
            <span class="address" role="rowheader">
              {hex(start)}
            </span>
            {cells.map((cell, at) => (
              <RegisterCell key={cell.address} cell={cell} before={cells[at - 1]} />
            ))}
          </div>
        ))}
      </div>
    </Panel>
  )
}

function RegisterCell({ cell, before }: { readonly cell: Cell; readonly before: Cell | undefined }) {
  const { address, request, property } = cell
  const same = before?.property === property && before?.request === request
  const tone = request === undefined ? 'hole' : property === undefined ? 'filler' : `tone-${request % TONES}`
  const words = request === undefined ? '' : `${hex(address)} ${property ?? t('filler')}`
  return (
    <span class={`register ${tone}${same && request !== undefined ? ' same' : ''}`} role="cell" title={words}>
      {property !== undefined && !same ? property : ''}
    </span>
  )
}

const hex = (address: number): string => `0x${address.toString(16).toUpperCase().padStart(4, '0')}`

function Requests({ plan }: { readonly plan: PlanExplanation }) {
  return (
    <Panel title={t('request')}>
      <div class="scroll-x" tabIndex={0} role="group" aria-label={t('request')}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('request')}</th>
              <th scope="col" class="num">
                {t('every')}
              </th>
              <th scope="col" class="num">
                {t('busTime')}
              </th>
              <th scope="col">{t('properties')}</th>
            </tr>
          </thead>
          <tbody>
            {plan.requests.map((request, index) => (
              <tr key={`${request.request}${request.everyMs}`}>
                <td>
                  <span class={`swatch tone-${index % TONES}`} aria-hidden="true" /> {request.request}
                  <p class="muted small">{request.why}</p>
                </td>
                <td class="num">{request.everyMs < 1000 ? figure(request.everyMs, 'ms', 0) : span(request.everyMs)}</td>
                <td class="num">{figure(request.busMs, 'ms')}</td>
                <td>{request.properties.join(', ')}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  )
}
