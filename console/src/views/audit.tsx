import type { AuditEntry } from '../../../api/console/audit-log.ts'
import type { PageProps } from '../app.tsx'
import { Failure, Loading } from '../parts/bits.tsx'
import { useAnswer } from '../use-answer.ts'
import { moment, t, word } from '../words.ts'

export function AuditPage(_: PageProps) {
  const { value, error } = useAnswer<{ items: AuditEntry[] }>('/v1/audit', 5_000)
  return (
    <>
      <div class="title">
        <h1>{t('audit')}</h1>
      </div>
      <Failure error={error} />
      {value === undefined ? (
        <Loading />
      ) : value.items.length === 0 ? (
        <p class="muted">{t('noAudit')}</p>
      ) : (
        <div class="scroll-x" tabIndex={0} role="group" aria-label={t('audit')}>
          <table class="wide stack">
            <thead>
              <tr>
                {[t('at'), t('who'), t('from'), t('what'), t('answer')].map((title) => (
                  <th scope="col" key={title}>
                    {title}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {value.items.map((entry) => (
                <tr key={`${entry.at}${entry.target}${entry.who}`}>
                  <td class="nowrap">{moment(entry.at)}</td>
                  <td>
                    {entry.who}
                    {entry.role === undefined ? null : <span class="muted small"> {word(entry.role)}</span>}
                  </td>
                  <td class="muted nowrap">{entry.from}</td>
                  <td class="whole">
                    <b>{entry.action}</b> {decodeURIComponentSafe(entry.target)}
                    {entry.value === undefined ? null : <b> = {entry.value}</b>}
                    {entry.why === undefined ? null : <p class="muted small">{entry.why}</p>}
                  </td>
                  <td class={entry.status >= 400 ? 'alarm' : ''}>{entry.answer ?? entry.status}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </>
  )
}

function decodeURIComponentSafe(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
