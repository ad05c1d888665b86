// A system topic that somebody else made. Its identity must be on: it writes the dead letters.
@description('Name of the topic.')
param name string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: name
}

@description('Object id of the topic\'s identity.')
output principalId string = topic.identity.principalId
