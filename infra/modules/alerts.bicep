// Alerts on what the app logs and on what Event Grid could not deliver. docs/monitoring.md says when each fires;
// docs/runbook.md has a section for each, by the name that its description gives.
//
// None is evaluated more often than every 15 minutes: a log alert is billed by how often it is, a metric alert by what it
// watches.

@description('Region of the rules; that of the Log Analytics workspace.')
param location string

@description('Tags of every resource.')
param tags object

@description('What the names of the rules begin with.')
param prefix string = 'medic'

@description('Resource ID of the Log Analytics workspace that holds the app\'s log.')
param workspaceId string

@description('Resource IDs of the Event Grid system topics that deliver to the app.')
param topicIds array

@description('Who gets a mail when an alert fires. Empty: alerts are only shown in the portal.')
param alertEmail string = ''

var isMailed = !empty(alertEmail)

// A metric alert stands in the subscription of what it watches: topics elsewhere have none. Its name tells two topics of one
// name apart: they may stand in two groups.
var watchedTopicIds = filter(topicIds, id => startsWith(toLower(id), toLower('${subscription().id}/')))

// Any row of a query is a reason to alert.
var rules = [
  {
    name: 'missed-events'
    query: loadTextContent('../kql/missed-events.kql')
    severity: 2
    every: 'PT1H'
    within: 'PT1H'
    description: 'The sweep found failed deployments that no event had told of. Look whether the event subscription exists and delivers. docs/runbook.md, "Alert: missed-events".'
  }
  {
    name: 'stuck-incidents'
    query: loadTextContent('../kql/stuck-incidents.kql')
    severity: 2
    every: 'PT1H'
    within: 'PT1H'
    description: 'An incident is open for longer than any of its actions may still do something. Look at its page and at failed functions. docs/runbook.md, "Alert: stuck-incidents".'
  }
  {
    name: 'lacking-permissions'
    query: loadTextContent('../kql/lacking-permissions.kql')
    severity: 2
    every: 'PT1H'
    within: 'PT1H'
    description: 'Azure refused our own identity something. The query names the permissions: grant them, or turn the action off. docs/runbook.md, "Alert: lacking-permissions".'
  }
  {
    name: 'breaker-open'
    query: loadTextContent('../kql/breaker-open.kql')
    severity: 2
    every: 'PT1H'
    within: 'PT1H'
    description: 'An action asks a person although policy says auto, since its last repairs did not help. Look at these before you approve more. docs/runbook.md, "Alert: breaker-open".'
  }
  {
    name: 'no-sweep'
    query: loadTextContent('../kql/no-sweep.kql')
    severity: 1
    every: 'PT1H'
    within: 'PT2H'
    description: 'The app has not finished a sweep for two hours: it is stopped, it cannot start, or it cannot reach its store. docs/runbook.md, "Alert: no-sweep".'
  }
  {
    name: 'no-checkpoint'
    query: loadTextContent('../kql/no-checkpoint.kql')
    severity: 1
    every: 'PT1H'
    within: 'PT6H'
    description: 'The audit trail does not hold, or it grew and was not signed, or its checkpoint did not leave the house. Run `medic audit verify`. docs/runbook.md, "Alert: no-checkpoint".'
  }
  {
    name: 'needs-person'
    query: loadTextContent('../kql/needs-person.kql')
    severity: 1
    every: 'PT15M'
    within: 'PT15M'
    description: 'A repair did not come out as it should, a message reached nobody, or our identity wrote what we did not intend. docs/runbook.md, "Alert: needs-person".'
  }
  {
    name: 'impaired'
    query: loadTextContent('../kql/impaired.kql')
    severity: 3
    every: 'PT1H'
    within: 'PT1H'
    description: 'The app works only in part: a policy was refused, or a record or a list cannot be read. docs/runbook.md, "Alert: impaired".'
  }
]

resource mail 'Microsoft.Insights/actionGroups@2023-01-01' = if (isMailed) {
  name: '${prefix}-mail'
  location: 'Global'
  tags: tags
  properties: {
    groupShortName: 'medic'
    enabled: true
    emailReceivers: [
      {
        name: 'mail'
        emailAddress: alertEmail
        useCommonAlertSchema: true
      }
    ]
  }
}

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: '${prefix}-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Endpoint Medic: ${rule.name}'
    description: rule.description
    severity: rule.severity
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: rule.every
    windowSize: rule.within
    autoMitigate: true
    skipQueryValidation: true // a new workspace has no table before the first line arrives
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: isMailed ? [mail.id] : []
    }
  }
}]

resource deadLetters 'Microsoft.Insights/metricAlerts@2018-03-01' = [for topicId in watchedTopicIds: {
  name: '${prefix}-dead-letters-${last(split(topicId, '/'))}-${uniqueString(toLower(topicId))}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Grid gave up on events and wrote them to the container deadletters. Mend what refused them, then send them again. docs/runbook.md, "Alert: dead-letters".'
    severity: 2
    enabled: true
    scopes: [
      topicId
    ]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dead-lettered'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: 'DeadLetteredCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: isMailed ? [{ actionGroupId: mail.id }] : []
  }
}]

resource droppedEvents 'Microsoft.Insights/metricAlerts@2018-03-01' = [for topicId in watchedTopicIds: {
  name: '${prefix}-dropped-events-${last(split(topicId, '/'))}-${uniqueString(toLower(topicId))}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Grid dropped events: it could neither deliver them nor write them to the container deadletters. The sweep finds what they told of. docs/runbook.md, "Alert: dropped-events".'
    severity: 1
    enabled: true
    scopes: [
      topicId
    ]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT1H'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dropped'
          metricNamespace: 'Microsoft.EventGrid/systemTopics'
          metricName: 'DroppedEventCount'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 0
        }
      ]
    }
    actions: isMailed ? [{ actionGroupId: mail.id }] : []
  }
}]
