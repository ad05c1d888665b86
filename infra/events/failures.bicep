// Failures and cancellations of one system topic, to the app. Deployed after the code: Event Grid asks for the function.
@description('Name of the system topic, in this resource group.')
param topicName string

@description('Resource id of the function app.')
param functionAppId string

@description('Resource id of the storage account whose container `deadletters` takes what the app did not.')
param recordsId string

@description('Only events of resources below this id; empty: all of the topic\'s source.')
param subjectBeginsWith string = ''

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

// The app's name is unique: a topic can serve several deployments.
resource failures 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: last(split(functionAppId, '/'))
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: '${functionAppId}/functions/on_deployment_failure'
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    // What remediations/intake.py takes; anything else would wake the app in vain.
    filter: {
      includedEventTypes: [
        'Microsoft.Resources.ResourceWriteFailure'
        'Microsoft.Resources.ResourceWriteCancel'
        'Microsoft.Resources.ResourceDeleteFailure'
        'Microsoft.Resources.ResourceDeleteCancel'
        'Microsoft.Resources.ResourceActionFailure'
        'Microsoft.Resources.ResourceActionCancel'
      ]
      subjectBeginsWith: subjectBeginsWith
      isSubjectCaseSensitive: false
      advancedFilters: [
        {
          operatorType: 'StringIn'
          key: 'data.operationName'
          values: [
            'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write'
            'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/write'
            'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/delete'
          ]
        }
      ]
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: recordsId
          blobContainerName: 'deadletters'
        }
      }
    }
  }
}
